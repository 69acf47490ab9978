"""The training pairs in their buckets, and the micro-batch at any positions of the stream.

Mirroring, dropped captions and tags, tag order and the draw from the VAE's posterior depend on (seed, position) only.

Shapes: B micro-batch, C latent channels, H W latent height and width.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from shared.config.schema import Config
from shared.data import buckets, dataset, masks
from shared.data.buckets import Framing, Size
from shared.data.captions import shuffled, thinned
from shared.data.dataset import Pair
from shared.data.headers import Headers
from shared.data.pictures import Header
from tasks import data_order
from tasks.text_to_image.data.cache import Cache, Caption, Mask, Picture
from tasks.text_to_image.families.model import Conditioning

log = logging.getLogger(__name__)

Beside = Callable[[str, Iterable[Picture]], Caption]
"""A caption as the text encoders read it, of a picture's caption and sources."""


@dataclass(frozen=True)
class Example:
    """A pair and how its picture is scaled and cropped to its bucket."""

    pair: Pair
    framing: Framing
    mask: Mask | None = None
    """The mask of its loss; None: the whole picture counts."""
    is_converted: bool = False
    """Whether the picture's colour profile changes its colours."""
    sources: tuple[Picture, ...] = ()
    """What it is made from, in order, not mirrored."""

    @property
    def bucket(self) -> tuple[Size, ...]:
        """Sizes of the picture and of its sources: those of a micro-batch are equal."""
        return (self.framing.target, *(source.framing.target for source in self.sources))

    def source_pictures(self, *, mirrored: bool = False) -> list[Picture]:
        """Inputs of the VAE, likewise."""
        return [replace(source, mirrored=mirrored) for source in self.sources]

    def picture(self, *, mirrored: bool = False) -> Picture:
        """The input of the VAE."""
        return Picture(self.pair.image, self.framing, mirrored, self.is_converted)


@dataclass(frozen=True)
class Batch:
    """One process's micro-batch, on the CPU."""

    latents: Tensor
    """(B, C, H, W), drawn from the VAE's posterior, not scaled, fp32."""
    text: Conditioning | list[str]
    """Conditioning, batch first; captions if they are encoded live."""
    time_ids: Tensor
    """(B, 6): original height and width, crop top and left, target height and width: SDXL's conditioning (§2.2)."""
    generators: list[torch.Generator]
    """One per picture, after the draw of its latents; noise and timestep are drawn next."""
    loss_weights: Tensor | None = None
    """(B,), fp32: factor of each picture's loss; None if all are 1."""
    masks: Tensor | None = None
    """(B, H, W), 0…1, fp32: weight of each location of the latents; None without masks."""
    sources: tuple[Tensor, ...] = ()
    """Of each source, (B, C, H, W) of its own size: the mean of the posterior, as pipelines take it; not scaled."""


def frame(
    pairs: Sequence[Pair], config: Config, *, multiple: int, at_least: int, source_sizes: Sequence[Size] = ()
) -> list[Example]:
    """Assign every pair to its bucket.

    multiple: the sides of a picture must be multiples of it. at_least: smaller buckets are not used. source_sizes: the
    buckets for sources, if pairs have some.

    Raises:
        ConfigError: the resolution does not suit the model.
    """
    sizes = buckets.sizes(config.data.resolution, multiple, square=not config.data.buckets)
    cache = Headers(dataset.headers_path(config))
    headers = cache.of([pair.image for pair in pairs])
    cache.of([source for pair in pairs for source in pair.sources])
    cache.save()
    originals = [header.size for header in headers]
    targets = buckets.assign(originals, sizes, at_least=at_least, repeats=[pair.repeats for pair in pairs])
    framings = [Framing(original, target) for original, target in zip(originals, targets, strict=True)]
    return [
        Example(
            pair,
            framing,
            _mask(pair, framing, config.data.masks),
            header.is_converted,
            tuple(_source(source, cache(source), framing, source_sizes) for source in pair.sources),
        )
        for pair, framing, header in zip(pairs, framings, headers, strict=True)
    ]


def _source(source: Path, header: Header, picture: Framing, among: Sequence[Size]) -> Picture:
    return Picture(source, buckets.frame_source(header.size, picture, among), is_converted=header.is_converted)


def _mask(pair: Pair, framing: Framing, kind: masks.Kind) -> Mask | None:
    if kind == "files" and pair.mask:
        return Mask(pair.mask, False, framing)
    if kind == "alpha" and masks.has_alpha(pair.image):
        return Mask(pair.image, True, framing)
    return None


def pictures_of(examples: Iterable[Example], config: Config) -> list[Picture]:
    """Every picture that the VAE has to encode."""
    variants = (False, True) if config.data.random_flip else (False,)
    return [
        picture
        for example in examples
        for mirrored in variants
        for picture in (example.picture(mirrored=mirrored), *example.source_pictures(mirrored=mirrored))
    ]


def captions_of(
    examples: Iterable[Example], config: Config, beside: Beside = lambda caption, sources: caption
) -> list[Caption]:
    """Every caption to encode before training; none if they are encoded live. beside: `Cache.beside`."""
    if config.encodes_captions_live:
        return []
    variants = (False, True) if config.data.random_flip else (False,)
    dropped = ("",) if config.data.caption_dropout else ()
    return [
        beside(caption, example.source_pictures(mirrored=mirrored))
        for example in examples
        for caption in (example.pair.caption, *dropped)
        for mirrored in variants
    ]


class Batches:
    """The training set as micro-batches by position."""

    def __init__(self, examples: Sequence[Example], cache: Cache, config: Config, *, group_size: int) -> None:
        self._examples, self._cache, self._config = examples, cache, config
        self._stream = data_order.Stream(
            [example.bucket for example in examples],
            [example.pair.repeats for example in examples],
            group_size=group_size,
            seed=config.train.seed,
            regularization={number for number, example in enumerate(examples) if example.pair.is_regularization},
        )

    @property
    def num_pictures(self) -> int:
        """Training pictures of the subject, each counted once."""
        return sum(not example.pair.is_regularization for example in self._examples)

    @property
    def notices(self) -> tuple[str, ...]:
        """Settings that have no effect with these pictures."""
        data, train, texts = self._config.data, self._config.train, list[str]()
        if train.prior_loss_weight != 1.0 and self.num_pictures == len(self._examples):
            texts.append(
                "train.prior_loss_weight is set, but no picture is for regularisation: name their folder in "
                "data.regularization_path"
            )
        if (train.unmasked_weight or data.masks == "alpha") and not any(example.mask for example in self._examples):
            texts.append(f"no picture has a mask (data.masks is {data.masks!r}): every picture counts as a whole")
        return tuple(texts)

    @property
    def epoch_length(self) -> int:
        """Pictures of one pass over the training set, repeats and pictures for regularisation included."""
        return self._stream.pass_length

    def at(self, positions: Sequence[int]) -> Batch:
        """The batch at these positions, which belong to one group."""
        examples = [self._examples[self._stream.example_at(position)] for position in positions]
        varied = [
            (example, self._is_mirrored(position), self._caption(example, position))
            for example, position in zip(examples, positions, strict=True)
        ]
        batch = read(
            self._cache,
            varied,
            [data_order.generator(self._config.train.seed, "example", position) for position in positions],
            live=self._config.encodes_captions_live,
        )
        return replace(batch, loss_weights=self._loss_weights(examples), masks=self._masks(varied, batch.latents))

    def _loss_weights(self, examples: Sequence[Example]) -> Tensor | None:
        prior = self._config.train.prior_loss_weight
        weights = [prior if example.pair.is_regularization else 1.0 for example in examples]
        return None if all(weight == 1.0 for weight in weights) else torch.tensor(weights)

    def _masks(self, varied: Sequence[tuple[Example, bool, str]], latents_BCHW: Tensor) -> Tensor | None:
        if not any(example.mask for example, *_ in varied):
            return None
        everywhere_HW = torch.ones(latents_BCHW.shape[2:])
        masks_HW = [
            (self._cache.mask(example.mask) if example.mask else everywhere_HW, is_mirrored)
            for example, is_mirrored, _ in varied
        ]
        return torch.stack([mask_HW.flip(-1) if is_mirrored else mask_HW for mask_HW, is_mirrored in masks_HW])

    def _is_mirrored(self, position: int) -> bool:
        return self._config.data.random_flip and self._random("flip", position).random() < 0.5

    def _caption(self, example: Example, position: int) -> str:
        data, caption, seed = self._config.data, example.pair.caption, self._config.train.seed
        if data.caption_dropout and self._random("caption-dropout", position).random() < data.caption_dropout:
            return ""
        if data.tag_dropout:
            tag_seed = data_order.derive(seed, "tag-dropout", position)
            caption = thinned(caption, data.tag_dropout, data.keep_tags, data.trigger_word, tag_seed)
        if data.shuffle_tags:
            caption = shuffled(caption, data.keep_tags, data_order.derive(seed, "tags", position))
        return caption

    def _random(self, purpose: str, position: int) -> random.Random:
        return random.Random(data_order.derive(self._config.train.seed, purpose, position))


def read(
    cache: Cache, items: Sequence[tuple[Example, bool, str]], generators: list[torch.Generator], *, live: bool
) -> Batch:
    """A batch of examples of one bucket. items: example, whether it is mirrored, its caption."""
    latents: list[Tensor] = []
    for (example, mirrored, _), generator in zip(items, generators, strict=True):
        mean, std = cache.posterior(example.picture(mirrored=mirrored))
        latents.append(mean + std * torch.randn(mean.shape, generator=generator))
    captions = [caption for *_, caption in items]
    sources = [
        [cache.posterior(source)[0] for source in example.source_pictures(mirrored=mirrored)]
        for example, mirrored, _ in items
    ]
    read_texts = [
        cache.beside(caption, example.source_pictures(mirrored=mirrored)) for example, mirrored, caption in items
    ]
    return Batch(
        torch.stack(latents),
        captions if live else cache.texts(read_texts),
        torch.tensor([time_ids(example.framing) for example, *_ in items]),
        generators,
        sources=tuple(map(torch.stack, zip(*sources, strict=True))),
    )


def time_ids(framing: Framing) -> list[int]:
    """SDXL's size conditioning (Podell et al. 2023, §2.2), height before width as diffusers orders it."""
    left, top = framing.corner
    return [*reversed(framing.original), top, left, *reversed(framing.target)]


def describe(examples: Sequence[Example]) -> str:
    """The number of training pictures, their buckets, how many are enlarged, how many are for regularisation."""
    subject = [example for example in examples if not example.pair.is_regularization]
    counts = Counter(example.framing.target for example in examples)
    bucket_list = ", ".join(f"{width}×{height} ({counts[width, height]})" for width, height in sorted(counts))
    repeated = sum(example.pair.repeats for example in subject)
    num_class = len(examples) - len(subject)
    num_masked = sum(example.mask is not None for example in examples)
    source_sizes = sorted({"{}×{}".format(*size) for example in examples for size in example.bucket[1:]})
    enlarged = [example.framing.scale for example in examples if example.framing.scale > 1]
    return (
        f"{len(subject)} training pictures"
        + (f", {repeated} with repeats" if repeated != len(subject) else "")
        + (f", and {num_class} for regularisation, of which each pass takes {repeated} as well" if num_class else "")
        + f", in {len(counts)} bucket(s): {bucket_list}"
        + (f"; {len(enlarged)} are smaller than that and enlarged, up to {max(enlarged):.1f}×" if enlarged else "")
        + (f"; {num_masked} have masks" if num_masked else "")
        + (f"; sources are {', '.join(source_sizes)}" if source_sizes else "")
    )
