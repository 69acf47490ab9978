"""Captions in tables: `metadata.jsonl` or `metadata.csv` in the folder, or one file that names pictures anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePath

from shared.data.captions import fault, tidy
from shared.data.pictures import KINDS, SUFFIXES
from shared.data.sources.columns import (
    CAPTION_COLUMNS,
    PICTURE_COLUMNS,
    Record,
    caption_column,
    cells_of,
    column,
    picture_column,
    source_columns,
)
from shared.data.sources.folder import pictures_among, walk
from shared.data.sources.names import Names, key, parts_of
from shared.data.sources.pair import Pair, id_of
from shared.data.sources.scan_report import CaptionPlace, ScanReport
from shared.data.sources.table_records import Table, UnreadableError, read_table
from shared.errors import DataError

METADATA = ("metadata.jsonl", "metadata.csv")
ENDINGS = (".csv", ".tsv", ".jsonl", ".json")


@dataclass(frozen=True)
class Row:
    """A picture and its caption as a table names them. place: where, for messages. fault: why there is no caption.
    sources: what it is made from."""

    place: str
    name: str
    caption: str
    fault: str = ""
    sources: tuple[str, ...] = ()


def from_folder(root: Path, tables: list[Path], pictures: list[Path], report: ScanReport) -> list[Pair]:
    """The pairs that these tables name among the pictures of their folder."""
    names, named, tables_of = Names(root, pictures), dict[Path, Row](), dict[Path, Path]()
    for table in tables:
        moved: list[tuple[str, Path]] = []
        for row in _rows(table, report):
            image = _meant(row, names.find(table.parent, row.name), report, "no such picture in the folder")
            if not image:
                continue
            if image in named:
                report.problems.append(f"{row.place}: {image.name} is named twice")
            if _is_moved(row.name, image):
                moved.append((row.name, image))
            named[image], tables_of[image] = row, table
        _tell_moved(table, moved, report)
    return [
        _pair(row, image, root, _sources(row, image, partial(names.find, tables_of[image].parent), report), report)
        for image, row in named.items()
    ]


def from_file(path: Path, report: ScanReport) -> list[Pair]:
    """The pairs of one table, whose pictures may be anywhere."""
    folder, nearby = path.parent, _Nearby(path.parent)

    def find(name: str) -> list[Path]:
        written = _located(folder, name)
        return [written] if written.is_file() else nearby.names.find(folder, name)

    pairs: list[Pair] = []
    moved: list[tuple[str, Path]] = []
    for row in _rows(path, report):
        written = _located(folder, row.name)
        if written.is_file() and written.suffix.lower() not in SUFFIXES:
            report.problems.append(f"{row.place}: {written.name} is not a {KINDS} picture")
            continue
        if image := _meant(row, find(row.name), report, "no such file"):
            pairs.append(_pair(row, image, folder, _sources(row, image, find, report), report))
            if _is_moved(row.name, image):
                moved.append((row.name, image))
    _tell_moved(path, moved, report)
    return pairs


def that_caption(root: Path, files: list[Path], pictures: list[Path], report: ScanReport) -> list[Path]:
    """The one table of another name that captions pictures of this folder, such as kohya's `meta_lat.json`; or none.

    Raises:
        DataError: there are several, and the user must choose; or there is none, and a file cannot be read.
    """
    names, tables, unreadable = Names(root, pictures), list[Path](), list[UnreadableError]()
    for file in (file for file in files if file.suffix.lower() in ENDINGS):
        try:
            table = read_table(file)
        except UnreadableError as error:
            unreadable.append(error)
            continue
        if _captions_any(file, table, names):
            tables.append(file)
    if unreadable and not tables:
        raise DataError(
            "no captions are found, and they may stand in a file that cannot be read:\n       "
            + "\n       ".join(map(str, unreadable)),
            f"{unreadable[0].hint}; or move it out of the folder",
        )
    if len(tables) > 1:
        listed = ", ".join(str(file.relative_to(root)) for file in tables)
        raise DataError(
            f"{len(tables)} tables name the pictures of {root}: {listed}", "set data.path to the one that is meant"
        )
    report.notices.extend(f"captions are read from {file}" for file in tables)
    return tables


def _captions_any(file: Path, table: Table, names: Names) -> bool:
    try:
        return any(names.find(file.parent, row.name) for row in _rows_of(file, table, ScanReport()))
    except DataError:
        return False


def _rows(path: Path, report: ScanReport) -> Iterator[Row]:
    return _rows_of(path, read_table(path), report)


def _rows_of(path: Path, table: Table, report: ScanReport) -> Iterator[Row]:
    """The rows of a table that name a picture and a caption; the others are problems.

    Raises:
        DataError: the table has no column of pictures or none of captions.
    """
    sources = source_columns(table.records, table.columns)
    others = [name for name in table.columns if name not in sources]
    picture = picture_column(table.records, others)
    if picture is None:
        raise _without(path, "pictures", table.columns, PICTURE_COLUMNS)
    caption = caption_column(table.records, others, besides=picture)
    if caption is None:
        raise _without(path, "captions", table.columns, CAPTION_COLUMNS)
    for place, record in zip(table.places, table.records, strict=True):
        name = _cell(record, PICTURE_COLUMNS, picture)
        text = _cell(record, CAPTION_COLUMNS, caption)
        if fault := table.faults.get(place):
            report.problems.append(f"{place}: {fault}")
        elif not isinstance(name, str) or not name.strip():
            report.problems.append(f'{place}: "{picture}" names no picture')
        else:
            made_from = tuple(str(cell).strip() for column in sources for cell in cells_of(record, column))
            if text is None or isinstance(text, str):
                yield Row(place, name.strip(), tidy(text or ""), sources=made_from)
            else:
                fault = f'the caption in "{caption}" is {_kind(text)}; write one text'
                yield Row(place, name.strip(), "", fault, made_from)


def _cell(record: Record, known: tuple[str, ...], usual: str) -> object:
    """Rows of JSON Lines may call it differently."""
    name = usual if usual in record else column(list(record), known)
    return record.get(name) if name else None


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else f"{value}, not a text"


def _without(path: Path, what: str, names: Sequence[str], known: tuple[str, ...]) -> DataError:
    return DataError(
        f"{path} has no column of {what}; its columns are {', '.join(names) or 'none'}",
        f"name the column {known[0]} (or {', '.join(known[1:])})",
    )


def _meant(row: Row, pictures: list[Path], report: ScanReport, missing: str) -> Path | None:
    """The one picture found for a row; no picture or several are problems."""
    if len(pictures) == 1:
        return pictures[0]
    if pictures:
        candidates = ", ".join(sorted(str(path) for path in pictures))
        report.problems.append(f"{row.place}: {row.name} may mean {candidates}")
    else:
        report.problems.append(f"{row.place}: {row.name}: {missing}")
    return None


def _sources(row: Row, image: Path, find: Callable[[str], list[Path]], report: ScanReport) -> tuple[Path, ...]:
    """What a row says that its picture is made from."""
    found: list[Path] = []
    for name in row.sources:
        candidates = find(name)
        if len(candidates) == 1 and candidates[0].suffix.lower() in SUFFIXES:
            found.append(candidates[0])
        else:
            why = f"may mean {', '.join(sorted(map(str, candidates)))}" if len(candidates) > 1 else "no such picture"
            report.source_faults.setdefault(image, []).append(f"{row.place}: the source {name}: {why}")
    return tuple(found)


def _pair(row: Row, image: Path, folder: Path, sources: tuple[Path, ...], report: ScanReport) -> Pair:
    table, _, line = row.place.rpartition(":")
    report.places[image] = CaptionPlace(Path(table), int(line))
    if row.fault:
        report.problems.append(f"{row.place}: {image.name}: {row.fault}")
    elif not row.caption:
        report.uncaptioned[image] = f"{row.place}: {image.name}: the caption is empty"
    elif reason := fault(row.caption):
        report.problems.append(f"{row.place}: {image.name}: {reason}")
    return Pair(id_of(image, folder), image, row.caption, sources=sources)


def _located(folder: Path, name: str) -> Path:
    """The file a table names; `..` is taken away, so that every id is a path without it."""
    if ".." in PurePath(name).parts and "\0" not in name:
        return (folder / name).resolve()
    return folder / name


def _tell_moved(table: Path, moved: list[tuple[str, Path]], report: ScanReport) -> None:
    if moved:
        name, image = moved[0]
        report.notices.append(
            f"{table}: {len(moved)} paths lead to other folders than these; {name} is taken to be {image}"
        )


def _is_moved(name: str, image: Path) -> bool:
    """Whether the folders in a table differ from those of the picture."""
    written = [part for part in parts_of(name) if part != ".."]
    return bool(written[:-1]) and key(written[:-1]) != key(image.parts[-len(written) : -1])


class _Nearby:
    """The pictures below a table's folder, searched when one of its paths does not exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def names(self) -> Names:
        aside = ScanReport()
        return Names(self._folder, pictures_among(walk(self._folder, aside), aside))
