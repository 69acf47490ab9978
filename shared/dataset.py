"""The captioned pictures, by id: found, checked and split before anything is loaded.

An id is the picture's path below the data set folder without its ending. Captions stand in `<id>.txt`, or all of them
in one `metadata.jsonl` with `file_name` and `text`. The split depends on ids and seed only.
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from shared.errors import DataError
from shared.publication import sha256
from shared.records import combined_digest

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
FORMATS = ("PNG", "JPEG", "WEBP")
METADATA = "metadata.jsonl"


@dataclass(frozen=True)
class Pair:
    """A picture and its caption."""

    id: str
    image: Path
    caption: str


def scan(folder: Path, *, decode: bool = False) -> list[Pair]:
    """Every captioned picture below `folder`, sorted by id; `decode` also reads every picture once.

    Raises:
        DataError: no such folder, no pictures, or pictures that cannot be used; all of them listed with their reasons.
    """
    if not folder.is_dir():
        raise DataError(f"data.path {folder} is not a folder", "give the folder that holds the pictures")
    problems: list[str] = []
    read = _from_metadata if (folder / METADATA).is_file() else _from_text_files
    pairs = read(folder, problems)
    seen: dict[str, Pair] = {}
    for pair in pairs:
        if pair.id in seen:
            problems.append(f"{pair.image}: has the same id as {seen[pair.id].image.name}")
        seen[pair.id] = pair
    if decode:
        problems.extend(_undecodable(_pictures(folder)))
    hint = "repair or remove these files; a caption stands in <name>.txt, in UTF-8, or in metadata.jsonl"
    _raise_all(problems, hint)
    if not pairs:
        raise DataError(
            f"data.path {folder} holds no pictures", f"looked for {', '.join(sorted(SUFFIXES))} at any depth"
        )
    return sorted(pairs, key=lambda pair: pair.id)


def open_picture(path: Path) -> Image.Image:
    """A decoded RGB picture, upright by its EXIF orientation, transparency laid on white.

    Raises:
        DataError: not a PNG, JPEG or WebP, truncated, or a decompression bomb.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                upright = ImageOps.exif_transpose(picture)
                if "A" in upright.getbands() or "transparency" in upright.info:
                    rgba = upright.convert("RGBA")
                    upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
                return upright.convert("RGB")
    except UnidentifiedImageError:
        raise DataError(f"{path}: not a PNG, JPEG or WebP picture") from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise DataError(f"{path}: {error}") from None


def square(picture: Image.Image, resolution: int) -> Image.Image:
    """The centre square of a picture at `resolution` × `resolution` pixels: what training and evaluation both see."""
    return ImageOps.fit(picture, (resolution, resolution), Image.Resampling.LANCZOS)


def held_out_ids(pairs: Sequence[Pair], count: int, seed: int) -> list[str]:
    """The ids kept from training, in the order evaluation takes its prompts.

    Raises:
        DataError: fewer than one pair would be left to train on.
    """
    if len(pairs) <= count:
        raise DataError(
            f"{len(pairs)} pictures, {count} of them to be held out, leave nothing to train on",
            "add pictures or lower data.num_validation",
        )
    ids = sorted(pair.id for pair in pairs)
    random.Random(f"held-out:{seed}").shuffle(ids)
    return ids[:count]


def fingerprint(pairs: Iterable[Pair]) -> str:
    """sha256 over every id, caption and picture content."""
    return combined_digest(f"{pair.id}:{sha256(pair.image)}:{pair.caption}" for pair in pairs)


def _from_text_files(folder: Path, problems: list[str]) -> list[Pair]:
    pairs: list[Pair] = []
    for image in _pictures(folder):
        caption = _read_caption(image.with_suffix(".txt"), image, problems)
        if caption:
            pairs.append(Pair(_id_of(image, folder), image, caption))
    return pairs


def _from_metadata(folder: Path, problems: list[str]) -> list[Pair]:
    captions = _read_metadata(folder / METADATA, problems)
    present = set(_pictures(folder))
    for image, caption in captions.items():
        if image not in present:
            problems.append(f"{image}: named in {METADATA}, no such picture in the folder")
        elif not caption:
            problems.append(f"{image}: the caption is empty")
    problems.extend(f"{image}: not named in {METADATA}" for image in sorted(present - captions.keys()))
    return [Pair(_id_of(image, folder), image, captions[image]) for image in captions if image in present]


def _read_metadata(path: Path, problems: list[str]) -> dict[Path, str]:
    """Picture to caption, as the lines of `metadata.jsonl` say."""
    captions: dict[Path, str] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}", "write it in UTF-8, one JSON object a line") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            name, text = (json.loads(line)[key] for key in ("file_name", "text"))
        except (ValueError, KeyError, TypeError):
            name = text = None
        if not isinstance(name, str) or not isinstance(text, str):
            problems.append(f'{path}:{number}: needs "file_name" and "text"')
        elif path.parent / name in captions:
            problems.append(f"{path}:{number}: {name} is named twice")
        else:
            captions[path.parent / name] = " ".join(text.split())
    return captions


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _undecodable(pictures: Iterable[Path]) -> Iterator[str]:
    for path in pictures:
        try:
            open_picture(path)
        except DataError as error:
            yield str(error)


def _id_of(image: Path, folder: Path) -> str:
    return image.relative_to(folder).with_suffix("").as_posix()


def _read_caption(path: Path, image: Path, problems: list[str]) -> str:
    try:
        caption = " ".join(path.read_text(encoding="utf-8-sig").split())
    except FileNotFoundError:
        problems.append(f"{image}: no caption file {path.name}")
        return ""
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path}: {error}")
        return ""
    if not caption:
        problems.append(f"{path}: the caption is empty")
    return caption


def _raise_all(problems: list[str], hint: str) -> None:
    if problems:
        raise DataError(f"{len(problems)} problem(s) in the data set:\n       " + "\n       ".join(problems), hint)
