"""TensorBoard: `tensorboard --logdir runs` shows every table, contact sheet and verdict of each run.

Event files are written into the run folder with TensorBoard's own writer; neither TensorFlow nor torch is needed.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from shared.config.schema import Config
from shared.followers.tracker import Row, Table
from shared.run_folder.averages import trained_to
from shared.run_folder.known_settings import known_toml
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import parse_time

PACKAGE = "tensorboard"
JPEG_QUALITY = 95


class TensorBoard:
    """One event file for each start of the follower."""

    _writer: Any

    def begin(self, run: RunDir, config: Config) -> None:
        """Open an event file and write the settings into it."""
        from tensorboard.summary.writer.event_file_writer import EventFileWriter  # noqa: PLC0415 - optional

        self._writer = EventFileWriter(str(run.tracker("tensorboard")))
        self._text("config", f"```toml\n{known_toml(run, config)}\n```", step=0, when=time.time())
        self._writer.flush()

    def rows(self, table: Table, rows: Sequence[Row]) -> None:
        """A scalar for each number: `train/loss`, `metrics/composite` …"""
        from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415

        for row in rows:
            values = [Summary.Value(tag=f"{table}/{name}", simple_value=value) for name, value in row.numbers.items()]
            self._add(Summary(value=values), row.step, row.time)
        self._writer.flush()

    def sheet(self, step: int, picture: Path) -> None:
        """As JPEG, which every browser shows and which is small."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415

        with Image.open(picture) as opened:
            rgb = opened.convert("RGB")
        encoded = io.BytesIO()
        rgb.save(encoded, "JPEG", quality=JPEG_QUALITY)
        image = Summary.Image(height=rgb.height, width=rgb.width, colorspace=3, encoded_image_string=encoded.getvalue())
        self._add(Summary(value=[Summary.Value(tag="sheet", image=image)]), step, picture.stat().st_mtime)
        self._writer.flush()

    def best(self, best: Best) -> None:
        """The reason, as text at the step that is best."""
        self._text("best", best.reason, trained_to(best.step), parse_time(best.created).timestamp())
        self._writer.flush()

    def end(self, code: int) -> None:
        """Close the file."""
        self._writer.close()

    def _text(self, tag: str, text: str, step: int, when: float) -> None:
        from tensorboard.plugins.text.summary_v2 import text_pb  # noqa: PLC0415

        self._add(text_pb(tag, text), step, when)

    def _add(self, summary: Any, step: int, when: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415

        self._writer.add_event(Event(wall_time=when or time.time(), step=step, summary=summary))


def create() -> TensorBoard:
    """A tracker that is not connected yet."""
    return TensorBoard()
