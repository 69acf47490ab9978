"""The captioned pictures of a run, by id: found, checked and split before a model is loaded.

`scan` reads a data set of any form. A picture that is held out (`shared.data.split.held_out`) is
never trained on, neither in its repeats nor as a copy under another name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from shared.config.path_settings import NO_PICTURES
from shared.config.schema import Config, DataConfig
from shared.data import captions, edits, hub_datasets, masks, sources
from shared.data.inspection import Inspection
from shared.data.pictures import SUFFIXES
from shared.data.sources import Pair, ScanReport, listed
from shared.data.split import held_out, regularization
from shared.errors import DataError
from shared.files.combined_digest import combined_digest
from shared.files.publication import sha256
from shared.run_folder.records.inventory import Inventory, PairRecord

Digest = Callable[[Path], str]


def cache_dir(config: Config) -> Path:
    """Where encoded pictures and captions, imported data sets and digests are kept."""
    return config.data.cache_dir or config.run.output_dir / ".cache"


def digests_path(config: Config) -> Path:
    """The file that keeps the digests of pictures."""
    return cache_dir(config) / "digests.json"


def headers_path(config: Config) -> Path:
    """The file that keeps the sizes and colours of pictures."""
    return cache_dir(config) / "headers.json"


def thumbprints_path(config: Config) -> Path:
    """The file that keeps what pictures look like."""
    return cache_dir(config) / "thumbprints.json"


def scan_again(config: Config, fingerprint_then: str, digest: Digest) -> tuple[list[Pair], bool]:
    """The pairs of a run's data set as `scan` finds them, and whether they equal those it was created from."""
    pairs = scan(config)
    if fingerprint(pairs, digest) == fingerprint_then:
        return pairs, True
    if any(pair.is_regularization for pair in pairs):  # the run may be older than the distinction
        alike = config.data.model_copy(update={"regularization_path": regularization.NONE})
        unmarked = scan(config.model_copy(update={"data": alike}))
        if fingerprint(unmarked, digest) == fingerprint_then:
            return unmarked, True
    return pairs, False


def scan(
    config: Config, inspection: Inspection | None = None, say: Callable[[str], object] = lambda text: None
) -> list[Pair]:
    """Every captioned picture of the data set, sorted by id; captions of the subject with the trigger word.

    None where `data.path` says that there are none.

    inspection: checks every picture, if given; every mask is then decoded too.
    say: gets notices of what was interpreted differently or not used.

    Raises:
        DataError: no data set, no pictures, or pictures that cannot be used; listed with their reasons.
    """
    if config.data.path == NO_PICTURES:
        return []
    report = ScanReport()
    pairs = look(config.data, cache_dir(config), report, inspection)
    refuse(config.data.path, pairs, report)
    for notice in listed(report.notices):
        say(notice)
    return sorted(pairs, key=lambda pair: pair.id)


def look(data: DataConfig, cache: Path, report: ScanReport, inspection: Inspection | None = None) -> list[Pair]:
    """Every pair of a data set in any form; its problems are added to `report`.

    Raises:
        DataError: there is no such data set, or its form is not understood.
    """
    folder = hub_datasets.on_disk(data.path, cache)
    pairs = sources.read(folder, report)
    if data.regularization_path != regularization.NONE:
        pairs = regularization.recognise(pairs)
    if data.regularization_path not in (regularization.NONE, regularization.AUTO):
        pairs = regularization.read_beside(pairs, folder, hub_datasets.on_disk(data.regularization_path, cache), report)
    pairs = sources.passed_over(pairs, report)
    pairs = _with_trigger(_told_apart(pairs, report), data.trigger_word, report)
    pairs = edits.used(pairs, data.sources, report)
    if inspection:
        there = [pair for pair in pairs if pair.image.is_file()]
        pictures = {picture for pair in there for picture in (pair.image, *pair.sources)}
        unreadable = len(report.problems)
        inspection.run(sorted(pictures), report.problems, report.notices)
        if len(report.problems) == unreadable:
            report.notices.extend(edits.notices(there, inspection.header))
        report.problems.extend(masks.problems(there, data.masks))
    return pairs


def has_sources(path: str, cache: Path) -> bool:
    """Whether pictures of a data set have sources, as pairs for an edit model have.

    Raises:
        DataError: there is no such data set, or its form is not understood.
    """
    report = ScanReport()
    pairs = sources.read(hub_datasets.on_disk(path, cache), report)
    return bool(report.source_faults) or any(pair.sources for pair in pairs)


def refuse(path: str, pairs: Sequence[Pair], report: ScanReport) -> None:
    """Raise if the data set has a problem, or no picture.

    Raises:
        DataError: with the problems, each of them once.
    """
    problems = list(dict.fromkeys(report.problems))
    if problems:
        lines = "\n       ".join(listed(problems))
        raise DataError(f"{len(problems)} problem(s) in the data set:\n       {lines}", cure(report))
    if not pairs:
        seen = "".join(f"\n       {notice}" for notice in listed(report.notices))
        hint = f"add pictures ({', '.join(sorted(SUFFIXES))}) at any depth; unpack archives"
        raise DataError(f"data.path {path} holds no pictures{seen}", hint)


def cure(report: ScanReport) -> str:
    """How to solve the problems; empty if there are none."""
    if not report.problems:
        return ""
    hint = "repair or remove these files; a caption stands in <name>.txt, in UTF-8, or in metadata.jsonl"
    if set(report.problems) & set(report.uncaptioned.values()):
        hint += (
            "; or give a trigger word (data.trigger_word; of init and evaluate: --trigger-word WORD): it is then the "
            "caption of pictures that have none"
        )
    if report.without_source:
        hint += (
            "; put what each picture is made from beside it, as <name>.source.png or <name>.source-1.png, "
            "<name>.source-2.png …, or name it in a column `source` of the table, or set data.sources = 'off' for a "
            "model that edits nothing"
        )
    return hint


def training_pairs(
    pairs: Sequence[Pair], kept_away: Iterable[str], train_size: int | None, seed: int, digest: Digest = sha256
) -> list[Pair]:
    """The pairs of the subject to train on, by id: not held out, no copy of a held-out picture, at most `train_size`
    chosen by seed.

    Raises:
        DataError: nothing is left.
    """
    left = _not_held_out([pair for pair in pairs if not pair.is_regularization], pairs, kept_away, digest)
    if not left:
        raise DataError("every picture is held out, or a copy of one that is", "add pictures")
    wanted = set(held_out.shuffled(left, f"train:{seed}")[:train_size])
    return [pair for pair in left if pair.id in wanted]


def one_of_each(pairs: Iterable[Pair], digest: Digest, named: Collection[str] = ()) -> list[Pair]:
    """The pairs by id without copies, as pairs to hold out are chosen from: two of one picture would count as two.

    Copies have the same bytes, or differ in their ending alone. named: ids that stay; of others the first one does.
    """
    seen: set[str] = set()
    kept: list[Pair] = []
    for pair in sorted(pairs, key=lambda pair: (pair.id not in named, pair.id)):
        marks = {digest(pair.image), _name(pair)}
        if pair.is_regularization or pair.id in named or not marks & seen:
            kept.append(pair)
        if not pair.is_regularization:
            seen |= marks
    return sorted(kept, key=lambda pair: pair.id)


def regularization_pairs(pairs: Sequence[Pair], kept_away: Iterable[str], digest: Digest = sha256) -> list[Pair]:
    """The pairs of the class to train on beside them, by id: none is a copy of a held-out picture."""
    return _not_held_out([pair for pair in pairs if pair.is_regularization], pairs, kept_away, digest)


def fingerprint(pairs: Iterable[Pair], digest: Digest = sha256) -> str:
    """sha256 over every id, caption and picture content, over masks, sources, and what is for regularisation."""
    return combined_digest(
        f"{pair.id}:{digest(pair.image)}:{pair.caption}"
        + (":regularization" if pair.is_regularization else "")
        + (f":mask:{digest(pair.mask)}" if pair.mask else "")
        + "".join(f":source:{digest(source)}" for source in pair.sources)
        for pair in pairs
    )


def _not_held_out(some: list[Pair], pairs: Sequence[Pair], kept_away: Iterable[str], digest: Digest) -> list[Pair]:
    ids = set(kept_away)
    away = [pair for pair in pairs if pair.id in ids]
    names, seen = {_name(pair) for pair in away}, {digest(pair.image) for pair in away}
    return [pair for pair in some if _name(pair) not in names and digest(pair.image) not in seen]


def copies(pairs: Sequence[Pair], digest: Digest = sha256) -> str:
    """How many pictures have the same bytes as another one, in words; empty: none."""
    by_content: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_content.setdefault(digest(pair.image), []).append(pair)
    copied = [same for same in by_content.values() if len(same) > 1]
    if not copied:
        return ""
    first, second, *_ = sorted(pair.id for pair in copied[0])
    count = sum(map(len, copied)) - len(copied)
    return f"{count} picture(s) are copies of others, such as {first} and {second}"


def folder_of(config: Config) -> Path:
    """The folder that the paths of pictures are relative to."""
    place = hub_datasets.on_disk(config.data.path, cache_dir(config))
    return (place.parent if place.is_file() else place).absolute()


def inventory(pairs: Sequence[Pair], digest: Digest = sha256, folder: Path | None = None) -> Inventory:
    """The pairs one by one, to be kept with a run; with the places of the pictures where `folder` is given."""
    records = (
        PairRecord(
            id=pair.id,
            image=digest(pair.image),
            caption=pair.caption,
            repeats=pair.repeats,
            is_regularization=pair.is_regularization,
            mask=digest(pair.mask) if pair.mask else "",
            sources=tuple(map(digest, pair.sources)),
        )
        for pair in pairs
    )
    if folder is None:
        return Inventory(pairs=tuple(records))
    return Inventory(
        pairs=tuple(records),
        paths={pair.id: _place(pair.image, folder) for pair in pairs},
        source_paths={
            pair.id: tuple(_place(source, folder) for source in pair.sources) for pair in pairs if pair.sources
        },
    )


def _place(picture: Path, folder: Path) -> str:
    whole = picture.absolute()
    return (whole.relative_to(folder) if whole.is_relative_to(folder) else whole).as_posix()


def _with_trigger(pairs: Sequence[Pair], trigger_word: str, report: ScanReport) -> list[Pair]:
    """The same pairs, those of the subject with the trigger word, which alone is the caption where there is none."""
    subject = [pair for pair in pairs if not pair.is_regularization] if trigger_word else []
    bare = {pair.image for pair in subject} & report.uncaptioned.keys()
    report.problems.extend(problem for image, problem in report.uncaptioned.items() if image not in bare)
    if bare:
        report.notices.append(
            f"{len(bare)} of {len(subject)} pictures have no caption: the trigger word {trigger_word!r} is theirs"
        )
    return [
        pair if pair.is_regularization else replace(pair, caption=captions.with_trigger(pair.caption, trigger_word))
        for pair in pairs
    ]


def _told_apart(pairs: Sequence[Pair], report: ScanReport) -> list[Pair]:
    """The same pairs; where pictures have one name and different endings, the ending is part of their ids."""
    images: dict[str, dict[Path, Pair]] = {}
    for pair in pairs:
        if images.setdefault(pair.id, {}).setdefault(pair.image, pair) is not pair:
            report.problems.append(f"{pair.image}: is named twice")
    several = {pair_id: list(pictures) for pair_id, pictures in images.items() if len(pictures) > 1}
    if several:
        first, second, *_ = next(iter(several.values()))
        report.notices.append(
            f"{len(several)} name(s) belong to several pictures, such as {first} and {second.name}: their ids keep the "
            "ending; remove copies"
        )
    return [replace(pair, id=pair.id + pair.image.suffix) if pair.id in several else pair for pair in pairs]


def _name(pair: Pair) -> str:
    """Its id without the ending, which only pictures of one name have there."""
    return pair.id.removesuffix(pair.image.suffix)
