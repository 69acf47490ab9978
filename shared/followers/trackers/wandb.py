"""Weights & Biases: one W&B run for each run folder, in the project `run.project` (or `WANDB_PROJECT`).

W&B's own environment variables decide the rest: `WANDB_API_KEY` or `wandb login`, `WANDB_ENTITY`, `WANDB_BASE_URL`, and
`WANDB_MODE=offline`, after which `wandb sync` uploads what lies in the run folder.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Sequence
from typing import Any, get_args

from PIL import Image

from shared.config.schema import Config
from shared.errors import ConfigError
from shared.followers import outage, verdict_words
from shared.followers.tracker import Destination, Model, PictureName, Row, Table
from shared.run_folder.known_settings import known_settings
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import RunDir

PACKAGE = "wandb"
PICTURES = "pictures"
MAX_TAG = 64
ADVICE_TAG, BEATS_TAG = "advice: ", "better than base: "


class WeightsAndBiases:
    """W&B's own process uploads; a call returns when W&B has written its values to disk or queued them for that."""

    def __init__(self) -> None:
        self._run: Any = None
        self._defined = set[str]()

    def begin(self, run: RunDir, config: Config) -> Destination:
        """Join the W&B run whose id is the run folder's, or create it: a restarted or resumed run goes on in one place.

        Raises:
            ConfigError: nobody is logged in, or this user may not write to the project.
        """
        self._folder = run
        project = os.environ.get("WANDB_PROJECT") or config.run.project
        if self._run is None:
            self._run = self._joined(run, config, project)
        files = f"{run.tracker('wandb')}/wandb/offline-run-*"
        server = self._run.settings.base_url
        return Destination(f"{server} {project} {self._run.id}", self._run.url or f"wandb sync {files}")

    def _joined(self, run: RunDir, config: Config, project: str) -> Any:
        wandb, record = _package(), run.read_record()
        folder = run.tracker("wandb")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            joined = wandb.init(
                project=project,
                name=run.path.name,
                id=record.run_id,
                resume="allow",
                dir=str(folder),
                config={**known_settings(run, config), "base_model": record.base_model, "data_set": _data_set(run)},
                job_type=config.run.task,
                settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
            )
        except (wandb.errors.UsageError, wandb.errors.AuthenticationError, wandb.errors.CommError) as error:
            if isinstance(error, wandb.errors.CommError) and not outage.is_refusal(error):
                raise  # out of reach: it is tried again
            raise ConfigError(
                f"Weights & Biases refuses this run: {error}",
                "run `wandb login`, or set WANDB_MODE=offline and upload later with `wandb sync`",
            ) from error
        for table in (*get_args(Table), PICTURES):  # W&B counts calls; each table has its own steps, which may go back
            joined.define_metric(f"{table}/step", hidden=True)
            joined.define_metric(f"{table}/*", step_metric=f"{table}/step")
        return joined

    def rows(self, table: Table, rows: Sequence[Row]) -> None:
        """`train/loss`, `metrics/composite` … A number that is not finite is left out: W&B draws no such point."""
        for row in rows:
            finite = {name: value for name, value in row.numbers.items() if math.isfinite(value)}
            for name in finite:
                self._define(name, table)
            if finite:
                self._run.log(finite | {f"{table}/step": row.step})

    def picture(self, name: PictureName, step: int, picture: Image.Image) -> None:
        """With its step as caption."""
        caption = f"{self._folder.read_record().unit} {step}"
        image = _package().Image(picture, caption=caption, file_type="jpg")
        self._run.log({f"{PICTURES}/{name}": image, f"{PICTURES}/step": step})

    def best(self, best: Best) -> None:
        """In the run's summary, tags and notes, where W&B's table of runs shows them."""
        told = verdict_words.tags(best)
        self._run.summary.update({f"best/{name}": value for name, value in told.items()} | {"best/step": best.step})
        self._run.notes = verdict_words.note(self._folder, best)
        others = [tag for tag in self._run.tags or () if not tag.startswith((ADVICE_TAG, BEATS_TAG))]
        ours = [f"{BEATS_TAG}{told['better_than_base']}"]
        ours += [f"{ADVICE_TAG}{told['advice']}"] if "advice" in told else []
        self._run.tags = (*others, *(tag[:MAX_TAG] for tag in ours))

    def model(self, model: Model) -> None:
        """An artifact of type `model`; W&B makes no version of files that it has already."""
        wandb = _package()
        artifact = wandb.Artifact(
            f"{self._folder.path.name}-{self._run.id}",
            type="model",
            description=model.card,
            metadata={"step": model.label, "digest": model.digest, "recommended": model.recommended},
        )
        artifact.add_dir(str(model.folder))
        with artifact.new_file("README.md", encoding="utf-8") as file:
            file.write(model.card)
        aliases = ["latest", f"{self._folder.read_record().unit}-{model.label.replace('–', '-')}"]
        self._run.log_artifact(artifact, aliases=[*aliases, *(["best"] if model.recommended else [])])

    def end(self, code: int | None) -> None:
        """Wait for the upload. A code other than 0 marks the W&B run as failed."""
        self._run.finish(exit_code=code or 0)

    def _define(self, name: str, table: Table) -> None:
        """A curve that has no table in its name is drawn over its table's steps, too."""
        if name not in self._defined and not name.startswith(f"{table}/"):
            self._run.define_metric(name, step_metric=f"{table}/step")
        self._defined.add(name)


def _data_set(run: RunDir) -> dict[str, Any]:
    data = run.read_record().dataset
    return {"fingerprint": data.fingerprint, "num_images": data.num_images, "num_held_out": len(data.held_out)}


def _package() -> Any:
    """W&B, which is optional. By its name, because a plain import in a file of that name confuses type checkers."""
    return importlib.import_module(PACKAGE)


def create() -> WeightsAndBiases:
    """A tracker that is not connected yet."""
    return WeightsAndBiases()
