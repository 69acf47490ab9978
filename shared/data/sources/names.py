"""The picture that a table's row means, however its path is written.

Tables are written on another system, in another folder, or before the pictures were moved or converted. So letter case,
separators, the composition of accents and the ending are ignored; leading folders that do not exist are dropped; and a
picture may be in a subfolder if its name is unique.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from unicodedata import normalize

from shared.data.pictures import OTHER_SUFFIXES, SUFFIXES

Parts = tuple[str, ...]


class Names:
    """The pictures of a folder by every way to write their paths."""

    def __init__(self, root: Path, pictures: Iterable[Path]) -> None:
        self._root = root
        self._pictures = set(pictures)
        self._whole: dict[str, list[Path]] = defaultdict(list)
        self._tails: dict[str, list[Path]] = defaultdict(list)
        self._folders: set[str] = set()
        for picture in sorted(self._pictures):
            self._learn(picture)

    def find(self, folder: Path, name: str) -> list[Path]:
        """The pictures that `name`, in a table in `folder`, may mean: none, the one, or several."""
        if folder / name in self._pictures:
            return [folder / name]
        base = folder.relative_to(self._root).parts
        written = parts_of(name)
        return self._by_parts(base, written) or self._by_parts(base, _without_ending(written))

    def _learn(self, picture: Path) -> None:
        parts = picture.relative_to(self._root).parts
        for spelling in (parts, _without_ending(parts)):
            self._whole[key(spelling)].append(picture)
            for start in range(1, len(spelling)):
                self._tails[key(spelling[start:])].append(picture)
        self._folders.update(key(parts[:end]) for end in range(1, len(parts)))

    def _by_parts(self, base: Parts, written: Parts) -> list[Path]:
        beside = _shortened((*base, *written))
        if pictures := self._whole.get(key(beside)):
            return _nearest(pictures, beside)
        parts = tuple(part for part in _shortened(written) if part != "..")
        for start in range(len(parts)):
            rest = parts[start:]
            for place in ((*base, *rest), rest):
                if pictures := self._whole.get(key(place)):
                    return _nearest(pictures, place)
            if any(key(place) in self._folders for place in ((*base, rest[0]), rest[:1])):
                break  # the folder is here and the picture is not: another one of the same name is not meant
        return _nearest(self._tails.get(key(parts), []), parts) if parts else []


def parts_of(name: str) -> Parts:
    """The parts of a path as any system writes it; `.` and empty ones are left out."""
    return tuple(part for part in name.strip().replace("\\", "/").split("/") if part not in ("", "."))


def key(parts: Sequence[str]) -> str:
    """Equal for paths that differ in letter case or in how accents are composed."""
    return normalize("NFC", normalize("NFC", "/".join(parts)).casefold())


def _shortened(parts: Parts) -> Parts:
    """`a/../b` is `b`."""
    return parts_of(posixpath.normpath("/".join(parts))) if parts else ()


def _without_ending(parts: Parts) -> Parts:
    if not parts:
        return ()
    stem, dot, ending = parts[-1].rpartition(".")
    return (*parts[:-1], stem) if f"{dot}{ending}".lower() in SUFFIXES | OTHER_SUFFIXES and stem else parts


def _nearest(pictures: list[Path], written: Parts) -> list[Path]:
    """Of several that differ in letter case or ending, the one that is spelt exactly so."""
    spelt = normalize("NFC", "/".join(written))
    exact = [picture for picture in pictures if f"/{normalize('NFC', picture.as_posix())}".endswith(f"/{spelt}")]
    return exact if len(exact) == 1 else pictures
