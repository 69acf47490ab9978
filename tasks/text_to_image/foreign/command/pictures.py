"""The pictures of a run whose LoRAs another program trains: references to compare with, and what was trained on.

A data set is one folder. Where both are given, it holds a link to each, `references` and `training`, and lies in the
cache beside the runs. References are taken in the order of their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shared.config import epochs
from shared.config.schema import Config
from shared.data import dataset, sources
from shared.data.dataset import Digest
from shared.data.pictures import SUFFIXES
from shared.data.sources import Pair, ScanReport, listed
from shared.data.split import groups
from shared.errors import ConfigError, DataError
from shared.files.publication import fsync
from shared.launch.task import Say
from shared.run_folder.records.run_record import DatasetRecord

REFERENCES, TRAINING = "references", "training"
"""The links."""
LEAST_REFERENCES = 2


def count(place: Path) -> int:
    """How many references there are, as far as can be told before the data set is checked.

    Raises:
        DataError: there is no such data set, or too few pictures in it.
    """
    report = ScanReport()
    number = len(sources.read(place, report))
    if number < LEAST_REFERENCES:
        seen = "".join(f"\n       {text}" for text in listed([*report.problems, *report.notices]))
        none = "no picture that can be used" if report.problems else "no picture"
        held = "1 picture, which says nothing about others" if number else none
        mend = "repair these files, and " if report.problems else ""
        raise DataError(
            f"--references {place} holds {held}{seen}",
            f"{mend}add pictures ({', '.join(sorted(SUFFIXES))}) with captions that were not trained on, seven or "
            "more; or give --prompts together with --train-pictures in place of --references",
        )
    return number


def linked(folder: Path, references: Path, training: Path) -> None:
    """Make `folder` a data set of both.

    Raises:
        ConfigError: one of them is no folder, or the file system has no links.
    """
    links = {REFERENCES: references, TRAINING: training}
    for option, place in (("--references", references), ("--train-pictures", training)):
        if not place.is_dir():
            raise ConfigError(f"{option} {place} is no folder", "give folders, if both are given")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for name, place in links.items():
            link = folder / name
            if link.is_symlink() and link.readlink() != place.resolve():
                link.unlink()
            if not link.is_symlink():
                link.symlink_to(place.resolve(), target_is_directory=True)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot hold links to the pictures: {error.strerror}",
            "give an --output on a file system that has symbolic links",
        ) from None
    fsync(folder)


def links(folder: Path) -> dict[Path, Path]:
    """Those of a data set that `linked` has made, and where they lead."""
    return {link: link.readlink() for name in (REFERENCES, TRAINING) if (link := folder / name).is_symlink()}


def named(text: str, folder: Path) -> str:
    """A text about the data set that `linked` has made, with the folders that the links lead to in their place."""
    places = links(folder)
    for link, place in places.items():
        text = text.replace(str(link), str(place))
    return text.replace(str(folder), " and ".join(map(str, places.values()))) if places else text


def link_again(former: Mapping[Path, Path]) -> None:
    """As they were."""
    for link, place in former.items():
        if link.readlink() != place:
            link.unlink()
            link.symlink_to(place, target_is_directory=True)


def held_out(pairs: Sequence[Pair], config: Config) -> list[str]:
    """Ids of the references, by name."""
    if not config.data.num_validation:
        return []
    names = sorted(pair.id for pair in pairs)
    below = [name for name in names if name.startswith(f"{REFERENCES}/")]
    return below or names


def described(config: Config, pairs: Sequence[Pair], digest: Digest, thumbprint: Digest, say: Say) -> DatasetRecord:
    """For `run.json`. say: told of references that look like pictures trained on."""
    away = held_out(pairs, config)
    kept = {pair.id: pair for pair in pairs}
    training = [pair for pair in pairs if pair.id not in set(away)]
    if copied := dataset.copies([kept[name] for name in away], digest):
        say(f"{copied}: each counts as a reference of its own; leave copies out of --references")
    alike = groups.straddling([kept[name] for name in away], training, thumbprint)
    num_seen = len({name for name, _ in alike})
    if alike:
        first, second = alike[0]
        say(
            f"{num_seen} reference(s) look like pictures that were trained on, such as {first} "
            f"like {second}: what is learnt by heart passes for learning there; leave them out of --references"
        )
    return DatasetRecord(
        path=config.data.path,
        num_images=len(pairs),
        fingerprint=dataset.fingerprint(pairs, digest),
        pass_length=epochs.pass_length(training, []),
        held_out=tuple(away),
        num_seen=num_seen,
    )
