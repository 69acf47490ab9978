"""Captions in separate files beside the pictures, and kohya's folders `<repeats>_<class>`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from shared.data.captions import fault, tidy
from shared.data.sources.columns import column
from shared.data.sources.folder import CAPTION_ENDINGS
from shared.data.sources.mask_files import is_named_as_mask
from shared.data.sources.names import key
from shared.data.sources.pair import Pair, id_of
from shared.data.sources.scan_report import CaptionPlace, ScanReport
from shared.data.sources.text import read_text, why
from shared.files.json_text import parse_json

JSON = ".json"
CAPTION_KEYS = ("caption", "text", "prompt", "tags")
"""Of a picture's own JSON file."""
KEYS_NAMED = 12
KOHYA_FOLDER = re.compile(r"([1-9]\d{0,2})_(.+)")
"""kohya's `<repeats>_<class>`; at most 999, so that a folder `2026_summer` means a year."""


class Captions:
    """Caption files by the picture they belong to."""

    def __init__(self, files: Sequence[Path]) -> None:
        captions = [file for file in files if file.suffix.lower() in (*CAPTION_ENDINGS, JSON)]
        self._files = set(captions)
        self._by_key = {(file.parent, key([file.name])): file for file in reversed(captions)}
        self._found: dict[Path, Path | None] = {}

    def of(self, picture: Path) -> Path | None:
        """`a.txt` of `a.jpg`, else `a.caption`, else either in other letters, else `a.jpg.txt`, else JSON."""
        if picture not in self._found:
            self._found[picture] = next(self._candidates(picture), None)
        return self._found[picture]

    def files_of(
        self, named: Iterable[Path], left: Iterable[Path], tables: Sequence[Path], report: ScanReport
    ) -> set[Path]:
        """The caption files that pictures have, with notices of those that are not used.

        named: pictures that `tables` caption. left: those whose own files do.
        """
        owned = self._owned({*named, *left})
        beaten = sorted(caption for picture in named if (caption := self.of(picture)))
        if beaten:
            table = " and ".join(dict.fromkeys(table.name for table in tables))
            report.notices.append(
                f"{len(beaten)} caption file(s) are not used, such as {beaten[0]}: {table} has the captions of their "
                "pictures"
            )
        second = sorted(owned - {self.of(picture) for picture in (*named, *left)})
        if second:
            report.notices.append(
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
        yield from (path for path in self._sidecars(picture) if _may_caption(path))

    def wordless(self, picture: Path) -> Path | None:
        """A picture's JSON file without a caption in the known keys."""
        return None if self.of(picture) else next(self._sidecars(picture), None)

    def _sidecars(self, picture: Path) -> Iterator[Path]:
        return self._alike([picture.with_suffix(JSON), Path(f"{picture}{JSON}")])

    def _alike(self, candidates: Sequence[Path]) -> Iterator[Path]:
        for path in candidates:
            if file := self._by_key.get((path.parent, key([path.name]))):
                yield file


def pairs(folder: Path, pictures: Sequence[Path], captions: Captions, report: ScanReport) -> list[Pair]:
    """A pair for every picture; a picture without a caption is a problem, and so is a mask without its picture."""
    captioned = {picture.parent for picture in pictures if captions.of(picture)}
    own_pairs: list[Pair] = []
    for picture in pictures:
        if is_named_as_mask(picture) and not captions.of(picture):
            report.problems.append(f"{picture}: a mask without its picture")
        else:
            own_pairs.append(_pair(picture, folder, captions, captioned, report))
    wordless = {path: None for picture in pictures if (path := captions.wordless(picture))}
    if wordless:
        report.notices.append(
            f"{len(wordless)} JSON file(s) of pictures hold no caption, such as {_without_words(next(iter(wordless)))}"
        )
    return own_pairs


def _pair(image: Path, folder: Path, captions: Captions, captioned: set[Path], report: ScanReport) -> Pair:
    repeats, name = _kohya(image, folder)
    path, wordless = captions.of(image), captions.wordless(image)
    if path:
        name = _read_caption(image, path, report)
    elif not name or image.parent in captioned:
        report.uncaptioned[image] = f"{image}: no caption file {image.with_suffix('.txt').name}" + (
            f", and no caption in {_without_words(wordless)}" if wordless else ""
        )
    else:
        report.named_by_folder.add(image)
    return Pair(id_of(image, folder), image, name, repeats)


def _kohya(image: Path, folder: Path) -> tuple[int, str]:
    """Repeats and class of the nearest `N_name/` above a picture; 1 and nothing where there is none."""
    for name in reversed(image.relative_to(folder).parts[:-1]):
        if match := KOHYA_FOLDER.fullmatch(name):
            return int(match[1]), tidy(match[2])
    return 1, ""


def _read_caption(image: Path, path: Path, report: ScanReport) -> str:
    report.places[image] = CaptionPlace(path)
    try:
        caption = tidy(_json_caption(path) if path.suffix.lower() == JSON else read_text(path))
    except (OSError, ValueError) as error:
        report.problems.append(f"{path}: {why(error)}")
        return ""
    if not caption:
        report.uncaptioned[image] = f"{path}: the caption is empty"
    elif reason := fault(caption):
        report.problems.append(f"{path}: {reason}")
    return caption


def _json_caption(path: Path) -> str:
    """What a picture's own JSON file says of it, as captioning programs and downloaders write; empty: nothing.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    about = _json_object(path)
    name = column(list(about), CAPTION_KEYS)
    value: Any = about[name] if name else ""
    if isinstance(value, list):
        return ", ".join(tag for tag in cast("list[Any]", value) if isinstance(tag, str))
    return value if isinstance(value, str) else ""


def _json_object(path: Path) -> dict[str, Any]:
    tree: Any = parse_json(read_text(path))
    return cast("dict[str, Any]", tree) if isinstance(tree, dict) else {}


def _may_caption(path: Path) -> bool:
    """True also if it cannot be read, which is reported then."""
    try:
        return bool(_json_caption(path))
    except (OSError, ValueError):
        return True


def _without_words(path: Path) -> str:
    keys = ", ".join(list(_json_object(path))[:KEYS_NAMED]) or "none"
    return f"{path}: its keys are {keys}, and those that are read {', '.join(CAPTION_KEYS)}"
