"""The forms captioned pictures come in, each read into pairs; what is wrong is collected, never thrown one by one.

| form                | captions stand in                                                                          |
| ------------------- | ------------------------------------------------------------------------------------------ |
| text files          | `<picture>.txt` or `<picture>.caption`; kohya's `N_name/` repeats its pictures N times      |
| Hugging Face folder | `metadata.jsonl` or `metadata.csv` beside or above the pictures, paths relative to it       |
| CSV file            | the file itself: a column of paths, a column of captions                                   |

An id is the picture's path below the data set's folder without its ending; of a picture outside, its whole path.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from shared.captions import fault, tidy
from shared.errors import DataError
from shared.pictures import OTHER_SUFFIXES, SUFFIXES

METADATA = ("metadata.jsonl", "metadata.csv")
CAPTION_ENDINGS = (".txt", ".caption")
KOHYA_FOLDER = re.compile(r"([1-9]\d{0,2})_(.+)")
"""kohya's `<repeats>_<class>`; at most 999, so that a folder `2026_summer` means a year."""
PICTURE_COLUMNS = ("file_name", "image", "image_path", "path", "file_path", "filepath", "filename", "file", "picture")
CAPTION_COLUMNS = ("text", "caption", "prompt", "description", "captions", "title")


@dataclass(frozen=True)
class Pair:
    """A picture and its caption."""

    id: str
    image: Path
    caption: str
    repeats: int = 1
    """How often it comes in each pass over the training set."""
    is_regularization: bool = False
    """A picture of the class, not of the subject; see `shared.regularization`."""


@dataclass(frozen=True)
class _Row:
    """A picture and its caption as a table names them. place: where, for messages."""

    place: str
    image: Path
    caption: str


def read(path: Path, problems: list[str]) -> list[Pair]:
    """Every pair at `path`, with what is wrong added to `problems`; a pair with a problem may be among them.

    Raises:
        DataError: there is no such folder or CSV file, or a table cannot be read at all.
    """
    if path.is_file() and path.suffix.lower() in (".csv", ".tsv"):
        return [_pair_of(row, path.parent, problems) for row in _rows(path, problems)]
    if not path.is_dir():
        raise DataError(f"data.path {path} is not a folder", "give the folder that holds the pictures, or a CSV file")
    files = list(_walk(path, (), problems))
    pictures = _pictures(files, problems)
    tables = [file for file in files if file.name in METADATA]
    if tables:
        return _from_metadata(path, tables, pictures, problems)
    return _from_text_files(path, files, pictures, problems)


def find_pictures(folder: Path, problems: list[str]) -> list[Path]:
    """Every picture at any depth, with what is wrong added to `problems`; names that begin with a dot are not seen."""
    return _pictures(list(_walk(folder, (), problems)), problems)


def column(names: Sequence[str], known: tuple[str, ...]) -> str | None:
    """The first of the known names among these, in any case; None when there is none."""
    by_name = {name.strip().lower(): name for name in names}
    return next((by_name[name] for name in known if name in by_name), None)


def _walk(folder: Path, above: tuple[Path, ...], problems: list[str]) -> Iterator[Path]:
    """Every file at any depth, sorted; links to folders are followed, names that begin with a dot are not seen."""
    real = folder.resolve()
    if real in above:
        problems.append(f"{folder}: a link to a folder it lies in")
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        problems.append(f"{folder}: {error.strerror}")
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, (*above, real), problems)
        else:
            yield entry


def _pictures(files: list[Path], problems: list[str]) -> list[Path]:
    found: list[Path] = []
    for file in files:
        suffix = file.suffix.lower()
        if suffix in OTHER_SUFFIXES:
            problems.append(f"{file}: {suffix} pictures are not read; save it as PNG, JPEG or WebP")
        elif suffix in SUFFIXES and _is_sound(file, problems):
            found.append(file)
    return found


def _is_sound(file: Path, problems: list[str]) -> bool:
    """A name that can be written down, and a file behind it."""
    if not file.is_file():
        problems.append(f"{file}: a link that leads to no file")
    elif any("\udc80" <= character <= "\udcff" for character in str(file)):  # how Python keeps bytes it cannot decode
        problems.append(f"{str(file)!a}: the name is not UTF-8")
    else:
        return True
    return False


def _from_text_files(folder: Path, files: list[Path], pictures: list[Path], problems: list[str]) -> list[Pair]:
    present = set(files)
    captioned = {image.parent for image in pictures if _caption_file(image, present)}
    return [_with_text_file(image, folder, present, captioned, problems) for image in pictures]


def _with_text_file(image: Path, folder: Path, present: set[Path], captioned: set[Path], problems: list[str]) -> Pair:
    repeats, name = _kohya(image, folder)
    path = _caption_file(image, present)
    caption = ""
    if path:
        caption = _read_caption(path, problems)
    elif name and image.parent not in captioned:
        caption = name
    else:
        problems.append(f"{image}: no caption file {image.with_suffix('.txt').name}")
    return Pair(_id_of(image, folder), image, caption, repeats)


def _caption_file(image: Path, present: set[Path]) -> Path | None:
    candidates = (image.with_suffix(ending) for ending in CAPTION_ENDINGS)
    return next((path for path in candidates if path in present), None)


def _kohya(image: Path, folder: Path) -> tuple[int, str]:
    """Repeats and class of the nearest `N_name/` above a picture; 1 and nothing where there is none."""
    for name in reversed(image.relative_to(folder).parts[:-1]):
        if match := KOHYA_FOLDER.fullmatch(name):
            return int(match[1]), tidy(match[2])
    return 1, ""


def _read_caption(path: Path, problems: list[str]) -> str:
    try:
        caption = tidy(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path}: {error}")
        return ""
    if reason := fault(caption):
        problems.append(f"{path}: {reason}")
    return caption


def _from_metadata(folder: Path, tables: list[Path], pictures: list[Path], problems: list[str]) -> list[Pair]:
    present, named = set(pictures), dict[Path, _Row]()
    for table in tables:
        for row in _rows(table, problems):
            if row.image in named:
                problems.append(f"{row.place}: {row.image.name} is named twice")
            elif row.image not in present:
                problems.append(f"{row.place}: {row.image}: no such picture in the folder")
            named[row.image] = row
    missing = sorted(present - named.keys())
    problems.extend(f"{image}: not named in {' or '.join(table.name for table in tables)}" for image in missing)
    return [_pair_of(row, folder, problems) for image, row in named.items() if image in present]


def _pair_of(row: _Row, folder: Path, problems: list[str]) -> Pair:
    if reason := fault(row.caption):
        problems.append(f"{row.place}: {row.image.name}: {reason}")
    if row.image.suffix.lower() not in SUFFIXES:
        problems.append(f"{row.place}: {row.image.name} is not a PNG, JPEG, WebP or BMP picture")
    elif not row.image.is_file():
        problems.append(f"{row.place}: {row.image}: no such file")
    return Pair(_id_of(row.image, folder), row.image, row.caption)


def _id_of(image: Path, folder: Path) -> str:
    below = image.relative_to(folder) if image.is_relative_to(folder) else image.relative_to(image.anchor)
    return below.with_suffix("").as_posix()


def _rows(path: Path, problems: list[str]) -> Iterator[_Row]:
    """The rows of a table that name a picture and a caption; the others are problems."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}", "write it in UTF-8") from None
    for number, record in _json_records(text) if path.suffix == ".jsonl" else _csv_records(path, text):
        names = [column(list(record), known) for known in (PICTURE_COLUMNS, CAPTION_COLUMNS)]
        values = [record[name] if name else None for name in names]
        if not all(isinstance(value, str) for value in values) or not values[0]:
            problems.append(f'{path}:{number}: needs "file_name" and "text"')
            continue
        yield _Row(f"{path}:{number}", _located(path.parent, str(values[0])), tidy(str(values[1])))


def _located(folder: Path, name: str) -> Path:
    """The file a table names; `..` is taken away, so that every id is a path without it."""
    if ".." in PurePath(name).parts:
        return (folder / name).resolve()
    return folder / name


def _json_records(text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        yield number, record if isinstance(record, dict) else {}


def _csv_records(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Rows by column name; separated by the comma, semicolon or tab that the header has most of.

    Raises:
        DataError: the header has no column of pictures or none of captions, or a row is no CSV.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    names = [name or "" for name in reader.fieldnames or []]
    for what, known in (("pictures", PICTURE_COLUMNS), ("captions", CAPTION_COLUMNS)):
        if not column(names, known):
            raise DataError(
                f"{path} has no column of {what}; its columns are {', '.join(names) or 'none'}",
                f"name the column {known[0]} (or {', '.join(known[1:])})",
            )
    try:
        for record in reader:
            yield reader.line_num, record
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}", "a quotation mark may be missing") from None


def _delimiter(text: str) -> str:
    header = text.partition("\n")[0]
    return max(",;\t", key=header.count)
