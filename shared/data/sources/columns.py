"""Which columns of a table hold the pictures' paths and the captions: by name, else by what is in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath

from shared.data.pictures import OTHER_SUFFIXES, SUFFIXES

Record = Mapping[str, object]

PICTURE_COLUMNS = (
    *("file_name", "image", "image_path", "path", "file_path", "filepath", "filename", "file", "picture"),
    *("image_file", "image_name", "img", "img_path", "photo"),
)
CAPTION_COLUMNS = (
    *("text", "caption", "prompt", "description", "captions", "title"),
    *("caption_text", "image_caption", "prompts", "tags"),
)
LABEL_COLUMNS = ("label", "class", "category", "target", "y", "labels", "class_name", "class_id")


def column(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The first of the known names among these, in any case and with any separators; None when there is none."""
    by_name = {_plain(name): name for name in reversed(names)}
    return next((by_name[_plain(name)] for name in known if _plain(name) in by_name), None)


def picture_column(records: Sequence[Record], names: Sequence[str]) -> str | None:
    """A known name, else the only column whose cells name pictures, most of them."""
    return column(names, PICTURE_COLUMNS) or _only(records, names, _is_path)


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
    cells = [cell for record in records if (cell := record.get(name)) not in (None, "")]
    return bool(cells) and 2 * sum(isinstance(cell, str) and fits(cell) for cell in cells) > len(cells)


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
