"""The training pictures of a run, as vectors: computed once for the whole run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.config.schema import Config
from shared.data import buckets, dataset, masks
from shared.data.pictures import open_picture, upright_size
from shared.data.recorded import recorded_pairs
from shared.files.digests import Digests
from shared.launch import relocation
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.descriptors.subject_mask import HALF
from tasks.text_to_image.encoders.encoder import Vector
from tasks.text_to_image.scoring.metric_input import NotGivenError

log = logging.getLogger(__name__)

Value = TypeVar("Value")

MAX_PICTURES = 2000
"""The number of pictures used, evenly spread over the ids: the base model's evaluation waits for them."""
SIZE_MULTIPLE = 8
"""Sides of framed pictures are multiples of this. A model may need a larger multiple; the difference is too small to
matter here."""


class TrainingSet:
    """Read from the data set at the first use, because that can take long."""

    def __init__(self, run: RunDir, config: Config) -> None:
        self._run, self._config = run, config
        self._values: dict[tuple[Callable[[Image.Image], Any], int], list[Any]] = {}
        self._stacked: dict[tuple[Callable[[Image.Image], Any], int], NDArray[np.float32]] = {}
        self._found: list[dataset.Pair] = []

    def vectors(self, embed: Callable[[Image.Image], Vector], at_most: int = MAX_PICTURES) -> NDArray[np.float32]:
        """The embedded training pictures, (N, D), N ≤ `at_most`; computed by the first call and then kept.

        Raises:
            DataError: the data set is missing, cannot be read, or has changed since training.
        """
        if (embed, at_most) not in self._stacked:
            self._stacked[embed, at_most] = np.stack(self.looked_at(embed, at_most))
        return self._stacked[embed, at_most]

    def looked_at(self, look: Callable[[Image.Image], Value], at_most: int = MAX_PICTURES) -> list[Value]:
        """What `look` finds in the training pictures, at most `at_most` of them, evenly spread. It is kept.

        Raises:
            DataError: as above.
        """
        if (look, at_most) not in self._values:
            chosen = self._chosen(at_most)
            log.info("looking at %d training pictures, once per run", len(chosen))
            self._values[look, at_most] = [look(picture) for picture in map(self._framed, chosen)]
        return self._values[look, at_most]

    def masks(self, at_most: int = MAX_PICTURES) -> list[NDArray[np.bool_] | None]:
        """Of the same pictures, (H, W): where the subject is, by `data.masks`; None where a picture has no mask.

        Raises:
            DataError: as above.
        """
        return [self._mask(pair) for pair in self._chosen(at_most)]

    def _chosen(self, at_most: int) -> list[dataset.Pair]:
        if not self._found:
            self._found = self._pairs()
        return self._found[:: -(-len(self._found) // at_most)]

    def _mask(self, pair: dataset.Pair) -> NDArray[np.bool_] | None:
        kind = self._config.data.masks
        path = pair.mask if kind == "files" else pair.image if kind == "alpha" and masks.has_alpha(pair.image) else None
        if path is None:
            return None
        mask = self._framing(pair).apply(masks.read(path, alpha=kind == "alpha"))
        return np.asarray(mask) > HALF

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
        """The pairs to use: from the run's record if they have not changed, else from reading the data set again."""
        digest = Digests(dataset.digests_path(self._config))
        recorded = recorded_pairs(self._run.read_inventory(), self._config)
        if recorded and recorded.are_unchanged(pairs := self._select(recorded.pairs, recorded.digest), digest):
            return pairs
        return self._select(relocation.scan_again(self._run, self._config, digest), digest)

    def _select(self, pairs: Sequence[dataset.Pair], digest: dataset.Digest) -> list[dataset.Pair]:
        config, held_out = self._config, self._run.read_record().dataset.kept_away
        if self._run.read_record().imported and not {pair.id for pair in pairs} - set(held_out):
            raise NotGivenError("the pictures that were trained on were not given", "give them as --train-pictures")
        training = dataset.training_pairs(pairs, held_out, config.data.train_size, config.train.seed, digest)
        return training[:: -(-len(training) // MAX_PICTURES)]

    def _framed(self, pair: dataset.Pair) -> Image.Image:
        """Framed like the references, so that both can be compared with a sample."""
        return self._framing(pair).apply(open_picture(pair.image))

    def _framing(self, pair: dataset.Pair) -> buckets.Framing:
        data = self._config.data
        sizes = buckets.sizes(data.resolution, SIZE_MULTIPLE, square=not data.buckets)
        return buckets.frame(upright_size(pair.image), sizes)
