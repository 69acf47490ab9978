"""Sources beside pictures: what `front.jpg` is made from by its caption, `front.source.png`, or several in their order,
`front.source-1.png`, `front.source-2.png`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from shared.data.pictures import SUFFIXES
from shared.data.sources.folder import files_in
from shared.data.sources.names import key
from shared.data.sources.scan_report import ScanReport

END = re.compile(r"(?P<picture>.+)\.source(?:[-_.]?(?P<number>\d{1,2}))?", re.IGNORECASE)
"""Of a source's name, before its ending."""

Sources = dict[Path, tuple[Path, ...]]
"""Picture → its sources, in order."""


def is_named_as_source(file: Path) -> bool:
    """Whether the name is a source's. A picture may have this name too: with a caption it is not a source."""
    return END.fullmatch(file.stem) is not None


def by_picture(files: Sequence[Path], is_captioned: Callable[[Path], bool], report: ScanReport) -> Sources:
    """The sources among the picture files of a folder. Two of one number are a problem."""
    found: dict[tuple[Path, str], list[tuple[int, Path]]] = {}
    for file in sorted(files):
        match = END.fullmatch(file.stem)
        if match is None or is_captioned(file):
            continue
        numbered, number = found.setdefault((file.parent, key([match["picture"]])), []), int(match["number"] or 0)
        if first := next((other for its, other in numbered if its == number), None):
            report.problems.append(f"{file}: {first.name} is this source of its picture already")
        numbered.append((number, file))
    sources_of: Sources = {}
    for picture in files if found else ():
        places = ((picture.parent, key([name])) for name in (picture.stem, picture.name))
        if numbered := next((found[place] for place in places if place in found), None):
            sources_of[picture] = tuple(file for _, file in sorted(numbered))
    return sources_of


def beside(pictures: Sequence[Path], report: ScanReport) -> Sources:
    """The sources of captioned pictures anywhere on the disk."""
    folders = sorted({picture.parent for picture in pictures})
    files = [file for folder in folders for file in files_in(folder) if file.suffix.lower() in SUFFIXES]
    return by_picture(files, set(pictures).__contains__, report)


def tell_orphans(pictures: Iterable[Path], report: ScanReport) -> list[Path]:
    """Pictures that are named as sources and have neither caption nor picture: each is a problem."""
    orphans = [picture for picture in pictures if is_named_as_source(picture)]
    report.problems.extend(f"{orphan}: a source without its picture" for orphan in orphans)
    return orphans
