"""The pictures a run learns from, as vectors: looked at once for the whole run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.config.schema import Config
from shared.data import buckets, dataset
from shared.data.pictures import open_picture, upright_size
from shared.data.recorded import recorded_pairs
from shared.files.digests import Digests
from shared.launch import relocation
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.encoders.encoder import Vector

log = logging.getLogger(__name__)

MAX_PICTURES = 2000
"""Looked at, evenly spread over the ids: the base model's evaluation waits for it."""
SIZE_MULTIPLE = 8
"""Of the sides pictures are framed to: what a model needs beyond this is too fine to be compared."""


class TrainingSet:
    """Found in the data set when first asked for, for it may be long."""

    def __init__(self, run: RunDir, config: Config) -> None:
        self._run, self._config = run, config
        self._vectors: NDArray[np.float32] | None = None
        self._found: list[dataset.Pair] = []

    def vectors(self, embed: Callable[[Image.Image], Vector]) -> NDArray[np.float32]:
        """The training pictures embedded, (N, D), N ≤ `MAX_PICTURES`; the first call computes, later ones remember.

        Raises:
            DataError: the data set is gone, cannot be read, or is no longer what was learnt from.
        """
        if self._vectors is None:
            pairs = self._pairs()
            log.info("looking at %d training pictures, once", len(pairs))
            self._vectors = np.stack([embed(picture) for picture in map(self._framed, pairs)])
            self._found = pairs
        return self._vectors

    def pair_id(self, position: int) -> str:
        """Of the picture behind the vector at this position."""
        return self._found[position].id

    def picture(self, position: int) -> Image.Image:
        """The picture behind the vector at this position.

        Raises:
            DataError: it is no longer where it was.
        """
        return self._framed(self._found[position])

    def _pairs(self) -> list[dataset.Pair]:
        """Those to look at: by the run's record where they are as it says, else by reading the data set again."""
        digest = Digests(dataset.digests_path(self._config))
        recorded = recorded_pairs(self._run.read_inventory(), self._config)
        if recorded and recorded.are_unchanged(pairs := self._chosen(recorded.pairs, recorded.digest), digest):
            return pairs
        return self._chosen(relocation.scan_again(self._run, self._config, digest), digest)

    def _chosen(self, pairs: Sequence[dataset.Pair], digest: dataset.Digest) -> list[dataset.Pair]:
        config, held_out = self._config, self._run.read_record().dataset.held_out
        found = dataset.training_pairs(pairs, held_out, config.data.train_size, config.train.seed, digest)
        return found[:: -(-len(found) // MAX_PICTURES)]

    def _framed(self, pair: dataset.Pair) -> Image.Image:
        """As the references are, so that both can be compared with a sample."""
        data = self._config.data
        sizes = buckets.sizes(data.resolution, SIZE_MULTIPLE, square=not data.buckets)
        return buckets.frame(upright_size(pair.image), sizes).apply(open_picture(pair.image))
