"""Weights & Biases: one W&B run for each run folder, in the project `darkroom` (or `WANDB_PROJECT`).

W&B's own environment variables decide the rest: `WANDB_API_KEY` or `wandb login`, `WANDB_ENTITY`, `WANDB_BASE_URL`, and
`WANDB_MODE=offline`, after which `wandb sync` uploads what lies in the run folder.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from PIL import Image

from shared.config.schema import Config
from shared.errors import ConfigError
from shared.followers.tracker import Row, Table
from shared.run_folder.known_settings import known_settings
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import RunDir

PACKAGE = "wandb"
PROJECT = "darkroom"


class WeightsAndBiases:
    """W&B's own process uploads; a call returns when W&B has written its values to disk or queued them for that."""

    _run: Any
    _folder: RunDir

    def begin(self, run: RunDir, config: Config) -> None:
        """Join the W&B run whose id is the run folder's, or create it: a restarted or resumed run goes on in one place.

        Raises:
            ConfigError: nobody is logged in, or this user may not write to the project.
        """
        wandb, self._folder = _package(), run
        folder = run.tracker("wandb")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=run.path.name,
                id=run.read_record().run_id,
                resume="allow",
                dir=str(folder),
                config=known_settings(run, config),
                settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
            )
        except (wandb.errors.UsageError, wandb.errors.AuthenticationError) as error:
            raise ConfigError(
                f"Weights & Biases refuses this run: {error}",
                "run `wandb login`, or set WANDB_MODE=offline and upload later with `wandb sync`",
            ) from error
        for table in (*get_args(Table), "sheets"):  # W&B counts calls; each table has its own steps, which may go back
            self._run.define_metric(f"{table}/step", hidden=True)
            self._run.define_metric(f"{table}/*", step_metric=f"{table}/step")

    def rows(self, table: Table, rows: Sequence[Row]) -> None:
        """`train/loss`, `metrics/composite` … A number that is not finite is left out: W&B draws no such point."""
        for row in rows:
            finite = {name: value for name, value in row.numbers.items() if math.isfinite(value)}
            self._run.log({f"{table}/{name}": value for name, value in finite.items()} | {f"{table}/step": row.step})

    def sheet(self, step: int, picture: Path) -> None:
        """The contact sheet, with its step as caption."""
        caption = f"{self._folder.read_record().unit} {step}"
        with Image.open(picture) as opened:
            image = _package().Image(opened.convert("RGB"), caption=caption, file_type="jpg")
        self._run.log({"sheets/contact sheet": image, "sheets/step": step})

    def best(self, best: Best) -> None:
        """In the run's summary and notes, where W&B's table of runs shows them."""
        self._run.summary.update({"best/step": best.step, "best/better_than_base": best.better_than_base})
        self._run.notes = best.reason

    def end(self, code: int) -> None:
        """Wait for the upload. A code other than 0 marks the W&B run as failed."""
        self._run.finish(exit_code=code)


def _package() -> Any:
    """W&B, which is optional. By its name, because a plain import in a file of that name confuses type checkers."""
    return importlib.import_module(PACKAGE)


def create() -> WeightsAndBiases:
    """A tracker that is not connected yet."""
    return WeightsAndBiases()
