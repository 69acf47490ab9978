"""Latents and text embeddings on disk, by content, so that no run encodes the same picture or caption twice.

An entry's name is a digest of its inputs: the picture's bytes, its framing and mirroring and the VAE, or the caption
and the text encoders. Pictures are encoded in fp32, so that runs of any precision can use the entries; captions are
encoded in the precision of training. Entries are safetensors files, written under a temporary name and renamed,
memory-mapped when read; any number of processes may share the folder. After an interruption only missing and damaged
entries are encoded.

Shapes: B batch, C latent channels, H W latent height and width.
"""

from __future__ import annotations

import hashlib
import json
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from shared.data import masks
from shared.data.buckets import Framing
from shared.data.pictures import open_picture
from shared.errors import DataError
from tasks.text_to_image.families.model import Conditioning, Model

Progress = Callable[[int, int], None]
Tensors = dict[str, Tensor]
Item = TypeVar("Item")

LAYOUT = 1
"""Part of every key: raise it if pixels or entries are computed in another way."""
DECODERS = 4
"""Pictures decoded while another is encoded."""
CHECKSUM = "crc32"


@dataclass(frozen=True)
class Picture:
    """An input of the VAE."""

    image: Path
    framing: Framing
    mirrored: bool = False
    is_converted: bool = False
    """Whether its colour profile changes its colours."""


@dataclass(frozen=True)
class Instruction:
    """An input of text encoders that read a caption beside its sources."""

    text: str
    sources: tuple[Picture, ...]


Caption = str | Instruction


@dataclass(frozen=True)
class Mask:
    """The mask of a picture's loss, framed like the picture."""

    image: Path
    """The mask's file, or the picture's."""
    is_alpha: bool
    """Whether it is the picture's transparency."""
    framing: Framing


class Cache:
    """Encoded pictures and captions, reduced masks. `prepare_…` finds the missing ones; `posterior`, `text` and `mask`
    read them.
    """

    def __init__(self, folder: Path, model: Model, digest: Callable[[Path], str]) -> None:
        """digest: of a picture file's bytes."""
        self._folder, self._model, self._digest = folder, model, digest
        self._pictures: dict[Picture, Path] = {}
        self._captions: dict[Caption, Path] = {}
        self._masks: dict[Mask, Path] = {}

    def prepare_pictures(self, pictures: Iterable[Picture], share: tuple[int, int] = (0, 1)) -> list[Picture]:
        """Register these pictures; returns those of this process's share without a valid entry.

        share: rank, number of processes.
        """
        for picture in dict.fromkeys(pictures):
            inputs = [self._digest(picture.image), self._vae, picture.framing.target, picture.mirrored]
            inputs += ["sRGB"] if picture.is_converted else []
            self._pictures[picture] = self._path("latents", inputs)
        return _without_entry(self._pictures, share)

    def beside(self, caption: str, sources: Iterable[Picture]) -> Caption:
        """A caption as the model's text encoders read it: with its sources, if they look at these too."""
        seen = tuple(sources)
        return Instruction(caption, seen) if seen and self._model.family.reads_sources else caption

    def prepare_captions(self, captions: Iterable[Caption], share: tuple[int, int] = (0, 1)) -> list[Caption]:
        """Register these captions; returns those of this process's share without a valid entry."""
        for caption in dict.fromkeys(captions):
            text, sources = _parts(caption)
            seen = [
                [self._digest(source.image), source.framing.target, source.mirrored, source.is_converted]
                for source in sources
            ]
            self._captions[caption] = self._path("texts", [text, self._text_encoders, *seen])
        return _without_entry(self._captions, share)

    def prepare_masks(self, items: Iterable[Mask], share: tuple[int, int] = (0, 1)) -> list[Mask]:
        """Register these masks; returns those of this process's share without a valid entry."""
        for mask in dict.fromkeys(items):
            inputs = [self._digest(mask.image), mask.is_alpha, mask.framing.target, self._model.pixels_per_latent]
            self._masks[mask] = self._path("masks", inputs)
        return _without_entry(self._masks, share)

    def encode_pictures(self, missing: Collection[Picture], progress: Progress) -> None:
        """Write the entries of these pictures, one at a time, so that an entry never depends on other pictures."""
        for done, (picture, pixels_BCHW) in enumerate(_decoded(missing), 1):
            mean, std = self._model.encode_pixels(pixels_BCHW)
            _write(self._pictures[picture], {"mean": mean[0], "std": std[0]})
            progress(done, len(missing))

    def reduce_masks(self, missing: Collection[Mask], progress: Progress) -> None:
        """Write the entries of these masks."""
        for done, mask in enumerate(missing, 1):
            width, height = (side // self._model.pixels_per_latent for side in mask.framing.target)
            values = masks.reduced(masks.read(mask.image, alpha=mask.is_alpha), (width, height))
            _write(self._masks[mask], {"mask": torch.from_numpy(values)})
            progress(done, len(missing))

    @torch.no_grad()
    def encode_captions(self, missing: Collection[Caption], progress: Progress) -> None:
        """Write the entries of these captions, one at a time."""
        for done, caption in enumerate(missing, 1):
            text, sources = _parts(caption)
            if sources:
                encoded = self._model.encode_captions([text], [[_framed(source) for source in sources]])
            else:
                encoded = self._model.encode_captions([text])
            _write(self._captions[caption], {name: value[0].cpu() for name, value in encoded.items()})
            progress(done, len(missing))

    def posterior(self, picture: Picture) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the VAE's posterior, fp32, not scaled; each (C, H, W)."""
        tensors = _read(self._pictures[picture])
        return tensors["mean"], tensors["std"]

    def mask(self, mask: Mask) -> Tensor:
        """Weight of each location of a latent, 0…1, fp32. (H, W)."""
        return _read(self._masks[mask])["mask"]

    def text(self, caption: Caption) -> Conditioning:
        """Conditioning of a caption, without the batch dimension, in the text encoders' precision."""
        return _read(self._captions[caption])

    def texts(self, captions: Iterable[Caption]) -> Conditioning:
        """Conditioning of these captions as a batch."""
        return self._model.collate([self.text(caption) for caption in captions])

    @cached_property
    def _vae(self) -> str:
        return self._model.vae_digest()

    @cached_property
    def _text_encoders(self) -> str:
        return self._model.text_digest()

    def _path(self, kind: str, inputs: list[object]) -> Path:
        name = hashlib.sha256(json.dumps([LAYOUT, *inputs]).encode()).hexdigest()
        return self._folder / kind / name[:2] / f"{name}.safetensors"


def _without_entry(entries: dict[Item, Path], share: tuple[int, int]) -> list[Item]:
    rank, processes = share
    own_share = list(entries.items())[rank::processes]
    with ThreadPoolExecutor() as pool:
        valid = pool.map(_is_valid, (path for _, path in own_share))
        return [item for (item, _), is_valid in zip(own_share, valid, strict=True) if not is_valid]


def _is_valid(path: Path) -> bool:
    """Whether an entry exists and its checksum matches."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get(CHECKSUM) == _checksum(_tensors(file))
    except (OSError, SafetensorError):
        return False


def _read(path: Path) -> Tensors:
    try:
        with safe_open(path, "pt") as file:
            return _tensors(file)
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path} cannot be read: {error}", "run the same command again: it encodes missing and damaged entries"
        ) from None


def _write(path: Path, tensors: Tensors) -> None:
    """Write under a temporary name and rename. No flush to the disk: a wrong checksum after a power cut is noticed."""
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        staging.write_bytes(save(contiguous, {CHECKSUM: _checksum(contiguous)}))
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def _tensors(file: safe_open) -> Tensors:
    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping


def _checksum(tensors: Tensors) -> str:
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].flatten().view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def _decoded(pictures: Iterable[Picture]) -> Iterator[tuple[Picture, Tensor]]:
    """Each picture with its pixels, in order; the next few are decoded at the same time."""
    waiting: deque[tuple[Picture, Future[Tensor]]] = deque()
    with ThreadPoolExecutor(DECODERS) as pool:
        for picture in pictures:
            waiting.append((picture, pool.submit(_pixels, picture)))
            if len(waiting) > DECODERS:
                first, pixels = waiting.popleft()
                yield first, pixels.result()
        for first, pixels in waiting:
            yield first, pixels.result()


def _parts(caption: Caption) -> tuple[str, tuple[Picture, ...]]:
    return (caption, ()) if isinstance(caption, str) else (caption.text, caption.sources)


def _framed(picture: Picture) -> Image.Image:
    framed = picture.framing.apply(open_picture(picture.image))
    return ImageOps.mirror(framed) if picture.mirrored else framed


def _pixels(picture: Picture) -> Tensor:
    """(1, 3, height, width) in −1…1."""
    pixels = np.asarray(_framed(picture), dtype=np.float32)
    return torch.from_numpy(pixels / 127.5 - 1.0).permute(2, 0, 1).unsqueeze(0)
