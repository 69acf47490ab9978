"""The training pictures that samples resemble: by id, and as small pictures in the evaluation's own folder.

The data set may be elsewhere when somebody looks at a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from shared.errors import DataError
from shared.run_folder.records.evaluation_result import Lookalike
from tasks.text_to_image.evaluation.scorer import Scorer
from tasks.text_to_image.evaluation.training_set import TrainingSet
from tasks.text_to_image.scoring.metric_input import Row

LOOKALIKES = "lookalikes"
"""Folder of these pictures in a result."""
MAX_SIDE = 384


class Lookalikes:
    """Those of one evaluation, each once, however many samples resemble it."""

    def __init__(self, scorer: Scorer, training: TrainingSet) -> None:
        self._columns = [column.name for metric in scorer.metrics for column in metric.columns if column.points_to]
        self._training = training
        self._pictures: dict[str, Image.Image] = {}

    def take(self, rows: Sequence[Row]) -> list[dict[str, Lookalike]]:
        """Column → the picture it points to, for each row; the positions are taken out of the rows."""
        taken = [{column: row.pop(column, None) for column in self._columns} for row in rows]
        return [
            {column: self._lookalike(int(position)) for column, position in row.items() if position is not None}
            for row in taken
        ]

    def write(self, folder: Path) -> None:
        """Into a result's folder; nothing if there are none."""
        if self._pictures:
            (folder / LOOKALIKES).mkdir()
        for name, picture in self._pictures.items():
            picture.save(folder / LOOKALIKES / name, "WEBP", quality=88)

    def _lookalike(self, position: int) -> Lookalike:
        name = f"{position:04d}.webp"
        try:
            if name not in self._pictures:
                picture = self._training.picture(position)
                picture.thumbnail((MAX_SIDE, MAX_SIDE))
                self._pictures[name] = picture
        except DataError:
            name = ""
        return Lookalike(id=self._training.pair_id(position), image=name)
