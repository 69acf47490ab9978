"""Which columns of a table hold the pictures' paths, what these are made from, and the captions: by name, else by what
is in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import cast

from shared.data.pictures import OTHER_SUFFIXES, SUFFIXES

Record = Mapping[str, object]

PICTURE_COLUMNS = (
    *("file_name", "image", "image_path", "path", "file_path", "filepath", "filename", "file", "picture"),
    *("image_file", "image_name", "img", "img_path", "photo"),
)
CAPTION_COLUMNS = (
    *("text", "caption", "prompt", "description", "captions", "title"),
    *("caption_text", "image_caption", "prompts", "tags", "edit_prompt", "instruction"),
)
_FILE = r"(image|picture)?s?(file)?(name|path)?s?"
SOURCE_COLUMNS = tuple(
    re.compile(rf"{word}{_FILE}(?P<number>\d{{1,2}})?")
    for word in ("source", "control", "edit", "input", "conditioning", "original", "before")
)
"""Of what an edit model makes a picture from, with a number where there are several: `control_path_0`, `edit_image`."""
EDITED_COLUMN = re.compile(rf"(edited|target|output|after){_FILE}")
"""Of the picture where there are sources."""
LABEL_COLUMNS = ("label", "class", "category", "target", "y", "labels", "class_name", "class_id")


def column(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The first of the known names among these, in any case and with any separators; None when there is none."""
    by_name = {_plain(name): name for name in reversed(names)}
    return next((by_name[_plain(name)] for name in known if _plain(name) in by_name), None)


def picture_column(records: Sequence[Record], names: Sequence[str]) -> str | None:
    """A known name, else the only column whose cells name pictures, most of them, or the one of edited pictures."""
    paths = [name for name in names if _holds(records, name, _is_path)]
    return column(names, PICTURE_COLUMNS) or (paths[0] if len(paths) == 1 else named_as_edited(paths))


def source_columns(records: Sequence[Record], names: Sequence[str]) -> list[str]:
    """The columns whose cells name what a picture is made from, in order; none where no other column has pictures."""
    paths = [name for name in names if _holds(records, name, _is_path)]
    for found in named_as_sources(paths):
        if picture_column(records, [name for name in names if name not in found]):
            return found
    return []


def named_as_sources(names: Sequence[str]) -> Iterator[list[str]]:
    """Those that are named as columns of sources are, in order; of each of the usual words."""
    for pattern in SOURCE_COLUMNS:
        found = [(int(match["number"] or 0), name) for name in names if (match := pattern.fullmatch(_plain(name)))]
        if found:
            yield [name for _, name in sorted(found)]


def named_as_edited(names: Sequence[str]) -> str | None:
    """The first that is named as the column of pictures beside those of sources is."""
    return next((name for name in names if EDITED_COLUMN.fullmatch(_plain(name))), None)


def caption_column(records: Sequence[Record], names: Sequence[str], besides: str) -> str | None:
    """A known name, else the only column of text besides that of the pictures."""
    others = [name for name in names if name != besides]
    return column(others, CAPTION_COLUMNS) or _only(records, others, _is_text)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _only(records: Sequence[Record], names: Sequence[str], fits: Callable[[str], bool]) -> str | None:
    fitting = [name for name in names if _holds(records, name, fits)]
    return fitting[0] if len(fitting) == 1 else None


def _holds(records: Sequence[Record], name: str, fits: Callable[[str], bool]) -> bool:
    cells = [cell for record in records for cell in cells_of(record, name)]
    return bool(cells) and 2 * sum(isinstance(cell, str) and fits(cell) for cell in cells) > len(cells)


def cells_of(record: Record, name: str) -> list[object]:
    """What a record has in a column: each of several in a list; nothing where the cell is empty."""
    cell = record.get(name)
    cells = cast("list[object]", cell) if isinstance(cell, list) else [cell]
    return [one for one in cells if one not in (None, "")]


def names_picture(cell: str) -> bool:
    """Whether a cell ends as a picture file does."""
    return PurePosixPath(cell.strip().replace("\\", "/")).suffix.lower() in SUFFIXES | OTHER_SUFFIXES


def _is_path(cell: str) -> bool:
    return names_picture(cell) and not _is_address(cell)


def _is_text(cell: str) -> bool:
    """Whether cells hold words, not numbers, addresses or names of pictures."""
    has_letters = re.search(r"[^\W\d_]", cell) is not None
    return has_letters and not _is_address(cell) and not names_picture(cell)


def _is_address(cell: str) -> bool:
    return cell.startswith(("http://", "https://"))
