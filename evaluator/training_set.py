"""The pictures a run learns from, as vectors: looked at once for the whole run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluator.encoder import Vector
from shared import dataset
from shared.config import Config
from shared.errors import DataError
from shared.records import RunRecord

log = logging.getLogger(__name__)


class TrainingSet:
    """Found in the data set when first asked for, for it may be long."""

    def __init__(self, config: Config, record: RunRecord) -> None:
        self._config, self._record = config, record
        self._vectors: NDArray[np.float32] | None = None

    def vectors(self, embed: Callable[[Image.Image], Vector]) -> NDArray[np.float32]:
        """All training pictures embedded, (N, D); the first call computes them, later ones remember.

        Raises:
            DataError: the data set is gone or cannot be read.
        """
        if self._vectors is None:
            paths = self._paths()
            log.info("looking at %d training pictures, once", len(paths))
            self._vectors = np.stack([embed(self._read(path)) for path in paths])
        return self._vectors

    def _paths(self) -> list[Path]:
        held_out = set(self._record.dataset.held_out)
        paths = [pair.image for pair in dataset.scan(Path(self._config.data.path)) if pair.id not in held_out]
        if not paths:
            raise DataError(f"no training pictures are left in {self._config.data.path}")
        return paths

    def _read(self, path: Path) -> Image.Image:
        """As the references are prepared, so that distances can be compared."""
        return dataset.square(dataset.open_picture(path), self._config.data.resolution)
