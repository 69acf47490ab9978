"""Captions in files of their own beside the pictures, and kohya's folders `<repeats>_<class>`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from shared.captions import fault, tidy
from shared.sources.columns import column
from shared.sources.findings import Findings
from shared.sources.folder import CAPTION_ENDINGS
from shared.sources.masks import is_named_as_mask
from shared.sources.names import key
from shared.sources.pair import Pair, id_of
from shared.sources.text import read_text

JSON = ".json"
CAPTION_KEYS = ("caption", "text", "prompt", "tags")
"""Of a picture's own JSON file."""
KOHYA_FOLDER = re.compile(r"([1-9]\d{0,2})_(.+)")
"""kohya's `<repeats>_<class>`; at most 999, so that a folder `2026_summer` means a year."""


class Captions:
    """Caption files by the picture they belong to."""

    def __init__(self, files: Sequence[Path]) -> None:
        found = [file for file in files if file.suffix.lower() in (*CAPTION_ENDINGS, JSON)]
        self._files = set(found)
        self._by_key = {(file.parent, key([file.name])): file for file in reversed(found)}
        self._found: dict[Path, Path | None] = {}

    def of(self, picture: Path) -> Path | None:
        """`a.txt` of `a.jpg`, else `a.caption`, else either in other letters, else `a.jpg.txt`, else JSON."""
        if picture not in self._found:
            self._found[picture] = next(self._candidates(picture), None)
        return self._found[picture]

    def told(
        self, named: Iterable[Path], left: Iterable[Path], tables: Sequence[Path], findings: Findings
    ) -> set[Path]:
        """The caption files that pictures have, with notices of those that are not used.

        named: pictures that `tables` caption. left: those whose own files do.
        """
        owned = self._owned({*named, *left})
        beaten = sorted(caption for picture in named if (caption := self.of(picture)))
        if beaten:
            table = " and ".join(dict.fromkeys(table.name for table in tables))
            findings.notices.append(
                f"{len(beaten)} caption file(s) are not used, such as {beaten[0]}: {table} has the captions of their "
                "pictures"
            )
        second = sorted(owned - {self.of(picture) for picture in (*named, *left)})
        if second:
            findings.notices.append(
                f"{len(second)} caption file(s) are not used, such as {second[0]}: another file of the same picture "
                "comes first (.txt, then .caption, then .json)"
            )
        return {*owned, *(caption for picture in left if (caption := self.of(picture)))}

    def _owned(self, pictures: Iterable[Path]) -> set[Path]:
        """The `.txt` and `.caption` files that have the name of one of these."""
        names = {(picture.parent, key([name])) for picture in pictures for name in (picture.stem, picture.name)}
        texts = (file for file in self._files if file.suffix.lower() in CAPTION_ENDINGS)
        return {file for file in texts if (file.parent, key([file.stem])) in names}

    def _candidates(self, picture: Path) -> Iterator[Path]:
        plain = [picture.with_suffix(ending) for ending in CAPTION_ENDINGS]
        yield from (path for path in plain if path in self._files)
        yield from self._alike([*plain, *(Path(f"{picture}{ending}") for ending in CAPTION_ENDINGS)])
        sidecars = self._alike([picture.with_suffix(JSON), Path(f"{picture}{JSON}")])
        yield from (path for path in sidecars if _json_caption(path))

    def _alike(self, candidates: Sequence[Path]) -> Iterator[Path]:
        for path in candidates:
            if found := self._by_key.get((path.parent, key([path.name]))):
                yield found


def pairs(folder: Path, pictures: Sequence[Path], captions: Captions, findings: Findings) -> list[Pair]:
    """A pair for every picture; one without a caption is a problem, and so is a mask, which is none."""
    captioned = {picture.parent for picture in pictures if captions.of(picture)}
    found: list[Pair] = []
    for picture in pictures:
        if is_named_as_mask(picture) and not captions.of(picture):
            findings.problems.append(f"{picture}: a mask without its picture")
        else:
            found.append(_pair(picture, folder, captions.of(picture), captioned, findings))
    return found


def _pair(image: Path, folder: Path, path: Path | None, captioned: set[Path], findings: Findings) -> Pair:
    repeats, name = _kohya(image, folder)
    if path:
        name = _read_caption(image, path, findings)
    elif not name or image.parent in captioned:
        findings.uncaptioned[image] = f"{image}: no caption file {image.with_suffix('.txt').name}"
    else:
        findings.named_by_folder.add(image)
    return Pair(id_of(image, folder), image, name, repeats)


def _kohya(image: Path, folder: Path) -> tuple[int, str]:
    """Repeats and class of the nearest `N_name/` above a picture; 1 and nothing where there is none."""
    for name in reversed(image.relative_to(folder).parts[:-1]):
        if match := KOHYA_FOLDER.fullmatch(name):
            return int(match[1]), tidy(match[2])
    return 1, ""


def _read_caption(image: Path, path: Path, findings: Findings) -> str:
    try:
        caption = tidy(_json_caption(path) if path.suffix.lower() == JSON else read_text(path))
    except (OSError, UnicodeDecodeError) as error:
        findings.problems.append(f"{path}: {error}")
        return ""
    if not caption:
        findings.uncaptioned[image] = f"{path}: the caption is empty"
    elif reason := fault(caption):
        findings.problems.append(f"{path}: {reason}")
    return caption


def _json_caption(path: Path) -> str:
    """What a picture's own JSON file says of it, as captioning programs and downloaders write; empty: nothing."""
    try:
        tree: Any = json.loads(read_text(path))
    except (OSError, ValueError):
        return ""
    about = cast("dict[str, Any]", tree) if isinstance(tree, dict) else {}
    name = column(list(about), CAPTION_KEYS)
    found: Any = about[name] if name else ""
    if isinstance(found, list):
        return ", ".join(tag for tag in cast("list[Any]", found) if isinstance(tag, str))
    return found if isinstance(found, str) else ""
