"""A tracker that writes down what it is told, and fails or dies when a file in its folder says so."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from shared.config.schema import Config
from shared.followers.tracker import Destination, Model, PictureName, Row, Table
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import RunDir

PACKAGE = "json"


class Toy:
    _folder: Path

    def begin(self, run: RunDir, config: Config) -> Destination:
        self._folder = run.tracker("toy")
        self._folder.mkdir(exist_ok=True)
        self._tell("begin", config.run.name)
        moved = self._folder / "moved"
        return Destination(moved.read_text() if moved.exists() else "here", "toys")

    def rows(self, table: Table, rows: Sequence[Row]) -> None:
        if (self._folder / "dies").exists() and table == "metrics":
            (self._folder / "dies").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if (self._folder / "fails").exists():
            raise ConnectionError(f"the toy is not reachable, try {time.monotonic()}")
        self._tell(table, *[row.step for row in rows])
        self._tell(f"{table} numbers", *[sorted(row.numbers) for row in rows])

    def picture(self, name: PictureName, step: int, picture: Image.Image) -> None:
        self._tell(name, step)
        self._tell(f"{name} size", picture.size)

    def best(self, best: Best) -> None:
        self._tell("best", best.step)

    def model(self, model: Model) -> None:
        self._tell("model", model.step)
        self._tell("card", model.card)

    def end(self, code: int | None) -> None:
        self._tell("end", code)

    def _tell(self, *what: object) -> None:
        with (self._folder / "told.jsonl").open("a") as file:
            file.write(json.dumps(what) + "\n")


def create() -> Toy:
    return Toy()
