"""The pictures of a run with their classes: found, checked and split before a network is loaded.

A class is kept as the caption of a `Pair`, so that what is known of pairs (copies, digests, what has changed) holds
here too. Forms: a folder for each class, at any depth below it, or such folders in `train/` and `val/`; a table; a
folder that `datasets` has saved, or `hub:owner/name`, with a column of pictures and one of classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from shared.config.loading import own_settings
from shared.config.schema import Config
from shared.data import dataset, hub_datasets
from shared.data.inspection import Inspection
from shared.data.pictures import SUFFIXES
from shared.data.sources.folder import pictures_among, walk, wrong_path
from shared.data.sources.pair import Pair, id_of
from shared.data.sources.scan_report import ScanReport, listed
from shared.data.split import held_out
from shared.errors import DataError
from tasks.image_classification.data import tables
from tasks.image_classification.settings import Settings

TRAIN, VALIDATION, TEST = ("train", "training"), ("val", "valid", "validation"), ("test",)
"""Names of folders that split a data set; each holds a folder for each class."""
CURE = "put each picture into a folder named like its class, or give a table of paths and classes"


def scan(
    config: Config, inspection: Inspection | None = None, say: Callable[[str], object] = lambda text: None
) -> list[Pair]:
    """Every picture, sorted by id; its class is its caption. inspection: checks every picture, if given.

    Raises:
        DataError: no data set, fewer than two classes, or pictures that cannot be used; every problem in one error.
    """
    report, label_column = ScanReport(), own_settings(config, Settings).label_column
    path = hub_datasets.on_disk(config.data.path, dataset.cache_dir(config), classes=True, label=label_column)
    if str(path) != config.data.path:  # what `datasets` had, written out as files
        path, label_column = path / "metadata.jsonl", "text"
    pairs = _told_apart(_read(path, report, label_column))
    if inspection:
        inspection.run(sorted({pair.image for pair in pairs}), report.problems, report.notices)
    problems = list(dict.fromkeys(report.problems))
    if not problems and len(classes_of(pairs)) < 2:
        problems = [_too_few(path, pairs)]
    if problems:
        lines = "\n       ".join(listed(problems))
        raise DataError(f"{len(problems)} problem(s) in the data set:\n       {lines}", CURE)
    for notice in listed(report.notices):
        say(notice)
    return sorted(pairs, key=lambda pair: pair.id)


def folder_of(config: Config) -> Path:
    """The folder that the paths of pictures are relative to."""
    place = hub_datasets.on_disk(config.data.path, dataset.cache_dir(config), classes=True)
    return (place.parent if place.is_file() else place).absolute()


def classes_of(pairs: Iterable[Pair]) -> tuple[str, ...]:
    """The names of the classes; numbers in the order of numbers."""
    return names_in_order({pair.caption for pair in pairs})


def names_in_order(names: Collection[str]) -> tuple[str, ...]:
    """Names of classes as they are numbered."""
    return tuple(sorted(names, key=int if all(name.isdecimal() for name in names) else str))


@dataclass(frozen=True)
class Split:
    """What folders say of which pictures are held out. Those of `test/` beside `val/` are a person's own business."""

    validation: frozenset[str]
    """Ids of the pictures to choose the held-out ones from."""
    test: frozenset[str]

    @property
    def not_trained_on(self) -> frozenset[str]:
        """Whether or not they are chosen."""
        return self.validation | self.test


def split_of(path: str, pairs: Iterable[Pair]) -> Split | None:
    """The split by folders; None where the data set has none. path: `data.path`."""
    ids = [pair.id for pair in pairs]
    if not Path(path).is_dir() or not _is_split([PurePosixPath(name).parts for name in ids]):
        return None
    of = {kind: frozenset(name for name in ids if _first(name) in kind) for kind in (VALIDATION, TEST)}
    return Split(of[VALIDATION], of[TEST]) if of[VALIDATION] else Split(of[TEST], frozenset())


def _first(pair_id: str) -> str:
    return pair_id.partition("/")[0].lower()


def _is_split(paths: Sequence[Sequence[str]]) -> bool:
    """Whether pictures lie in folders of classes in `train/` and `val/` or `test/`. paths: their parts."""
    names = {parts[0].lower() for parts in paths if parts}
    known, others = {*TRAIN, *VALIDATION, *TEST}, {*VALIDATION, *TEST}
    return names <= known and bool(names & {*TRAIN}) and bool(names & others) and all(len(one) > 2 for one in paths)


def choose_held_out(pairs: Sequence[Pair], config: Config) -> list[str]:
    """Ids kept from training, each class by its share; every beginning of the list has these shares as well.

    Raises:
        DataError: `data.validation_ids` names what is not there, or nothing is left to train on, or folders hold fewer
            pictures for validation than are to be held out.
    """
    if found := split_of(config.data.path, pairs):
        return _of_split([pair for pair in pairs if pair.id in found.validation], config)
    return _by_class(pairs, config.data.num_validation, config)


def _of_split(pairs: Sequence[Pair], config: Config) -> list[str]:
    count = config.data.num_validation
    if count > len(pairs):
        raise DataError(
            f"data.num_validation is {count}, and {_first(pairs[0].id) if pairs else 'val'}/ holds {len(pairs)} "
            "different pictures",
            f"set data.num_validation = {len(pairs)} or less",
        )
    chosen = _by_class(pairs, min(count, len(pairs) - 1), config)
    return [*chosen, *(pair.id for pair in pairs if count == len(pairs) and pair.id not in chosen)]


def _by_class(pairs: Sequence[Pair], count: int, config: Config) -> list[str]:
    by_class = {f"{pair.caption.replace('/', '_')}/{pair.id}": pair.id for pair in pairs}
    named_like = {pair_id: name for name, pair_id in by_class.items()}
    strata = [replace(pair, id=named_like[pair.id]) for pair in pairs]
    named = [named_like.get(name, name) for name in config.data.validation_ids]
    chosen = held_out.choose(strata, count, config.train.seed, named)
    return [by_class[name] for name in chosen]


def training_pairs(
    pairs: Sequence[Pair], kept_away: Iterable[str], config: Config, digest: dataset.Digest
) -> list[Pair]:
    """The pictures to train on: not held out, no copy of a held-out one, `data.train_size` at most.

    Raises:
        DataError: nothing is left, or nothing of some class.
    """
    training = dataset.training_pairs(pairs, kept_away, config.data.train_size, config.train.seed, digest)
    if missing := [name for name in classes_of(pairs) if name not in set(classes_of(training))]:
        raise DataError(
            f"nothing is left to train on of {', '.join(missing)}",
            "add pictures of these classes, raise data.train_size, or lower data.num_validation",
        )
    return training


def contradictions(pairs: Sequence[Pair], digest: dataset.Digest) -> str:
    """That copies of one picture have different classes, in words; empty: none have."""
    classes: dict[str, dict[str, str]] = {}
    for pair in pairs:
        classes.setdefault(digest(pair.image), {})[pair.caption] = pair.id
    wrong = [named for named in classes.values() if len(named) > 1]
    if not wrong:
        return ""
    told = " and ".join(f"{pair_id} as {name}" for name, pair_id in wrong[0].items())
    return f"{len(wrong)} picture(s) are there with different classes, such as {told}"


def counts(pairs: Iterable[Pair]) -> str:
    """How many pictures each class has, in words."""
    number = Counter(pair.caption for pair in pairs)
    names = names_in_order(number)
    shown = ", ".join(f"{name} {number[name]}" for name in names[:12])
    return shown + (f" and {len(names) - 12} more classes" if len(names) > 12 else "")


def is_folder_of_classes(path: Path) -> bool:
    """Whether pictures lie in two or more folders, and neither beside these nor with captions."""
    if not path.is_dir():
        return False
    files = walk(path, ScanReport())
    pictures = [file.relative_to(path) for file in files if file.suffix.lower() in SUFFIXES]
    captioned = any(file.suffix.lower() in (".txt", ".caption") and file.with_suffix("").name for file in files)
    has_tables = any(file.suffix.lower() in tables.ENDINGS for file in files)
    folders = {picture.parts[0] for picture in pictures if len(picture.parts) > 1}
    return len(folders) > 1 and not captioned and not has_tables and all(len(one.parts) > 1 for one in pictures)


def folders_of_classes(path: Path) -> list[str]:
    """The names of the classes of such a folder, sorted."""
    files = walk(path, ScanReport())
    paths = [file.relative_to(path).parts for file in files if file.suffix.lower() in SUFFIXES]
    return sorted({parts[1 if _is_split(paths) else 0] for parts in paths})


def _read(path: Path, report: ScanReport, label_column: str) -> list[Pair]:
    if path.is_file() and path.suffix.lower() in tables.ENDINGS:
        return tables.read(path, report, label_column)
    if not path.is_dir():
        raise wrong_path(path)
    folder, pairs = path.absolute(), list[Pair]()
    images = {image: image.relative_to(folder).parts for image in pictures_among(walk(folder, report), report)}
    of_class = 1 if _is_split([*images.values()]) else 0
    for image, parts in images.items():
        if len(parts) == 1:
            report.problems.append(f"{image}: lies in no folder of a class")
        else:
            pairs.append(Pair(id_of(image, folder), image, parts[of_class]))
    return pairs


def _told_apart(pairs: Sequence[Pair]) -> list[Pair]:
    """The same pairs; where pictures have one name and different endings, the ending is part of their ids."""
    count = Counter(pair.id for pair in pairs)
    return [replace(pair, id=pair.id + pair.image.suffix) if count[pair.id] > 1 else pair for pair in pairs]


def _too_few(path: Path, pairs: Sequence[Pair]) -> str:
    if not pairs:
        return f"data.path {path} holds no pictures"
    return f"data.path {path} holds one class only, {pairs[0].caption}"
