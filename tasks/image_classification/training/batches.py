"""The pictures at positions of the stream, varied by random numbers that depend on seed and position alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from shared.config.loading import own_settings
from shared.config.schema import Config
from shared.data.sources.pair import Pair
from tasks import data_order
from tasks.data_order import Stream
from tasks.image_classification.data.decoded import Bytes, DecodedPictures
from tasks.image_classification.data.framing import cut, fit
from tasks.image_classification.network import Normalization
from tasks.image_classification.settings import Settings


class Batches:
    """Training pictures and their classes by position."""

    def __init__(
        self, pairs: Sequence[Pair], classes: Sequence[str], config: Config, how: Normalization, *, group_size: int
    ) -> None:
        """group_size: pictures of one micro-batch over all processes."""
        self._pairs, self._config, self._how = pairs, config, how
        self._settings = own_settings(config, Settings)
        index = {name: number for number, name in enumerate(classes)}
        self.labels = torch.tensor([index[pair.caption] for pair in pairs])
        self._stream = Stream([0] * len(pairs), [1] * len(pairs), group_size=group_size, seed=config.train.seed)
        self._decoded = DecodedPictures(len(pairs), self._settings.img_size)

    @property
    def epoch_length(self) -> int:
        """Pictures of one pass."""
        return self._stream.pass_length

    def at(self, positions: range) -> tuple[Tensor, Tensor]:
        """Pixels (B, 3, H, W), float32, and numbers of classes (B,)."""
        examples = [self._stream.example_at(position) for position in positions]
        paths = [self._pairs[example].image for example in examples]
        draws_B4 = [self._draws(position) for position in positions]
        size, least = self._settings.img_size, self._settings.random_crop
        if least < 1:
            frames = [
                partial(
                    cut, size=size, share=least + (1 - least) * draws[0], shape=draws[1], left=draws[2], top=draws[3]
                )
                for draws in draws_B4
            ]
            pictures = self._decoded.each(paths, frames)
        else:
            pictures = self._decoded.framed(paths, partial(fit, size=size))
        if self._config.data.random_flip:
            pictures = _mirrored(pictures, [draws[4] < 0.5 for draws in draws_B4])
        return self._how.pixels(torch.from_numpy(pictures)), self.labels[examples]

    def _draws(self, position: int) -> list[float]:
        generator = data_order.generator(self._config.train.seed, "augmentation", position)
        return torch.rand(5, generator=generator).tolist()


def _mirrored(pictures_BHWC: Bytes, which: Sequence[bool]) -> Bytes:
    flipped = pictures_BHWC[:, :, ::-1]
    return np.ascontiguousarray(np.where(np.array(which)[:, None, None, None], flipped, pictures_BHWC))
