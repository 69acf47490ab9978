"""The run folder: every path of it, by name.

`RunDir` knows paths and nothing else; it is what programs pass around.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from shared.config.loading import load_config
from shared.config.schema import Config
from shared.errors import RunFolderError
from shared.files.publication import read_manifest
from shared.run_folder.averages import is_average
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.best import Best
from shared.run_folder.records.deleted_snapshot import DeletedSnapshot
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.inventory import Inventory
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.records.run_record import RunRecord

ResultKind = str
"""A folder of results by step: `evaluations`; `confirmations`, of the finalists, once more; `strengths/0.80`, of the
snapshot to ship; `requested/<id>`."""
SHEET = "sheet.webp"
"""A result's contact sheet."""
STEP_FOLDER = re.compile(r"step-(\d{8,15})")
STEP_RECORD = re.compile(r"step-(\d{8,15})\.json")


@dataclass(frozen=True)
class RunDir:
    """Paths of one run."""

    path: Path

    @property
    def config(self) -> Path:
        """Resolved configuration; replaced whole when a setting is changed for a resumed run."""
        return self.path / "config.toml"

    @property
    def record(self) -> Path:
        """`run.json`, see `RunRecord`."""
        return self.path / "run.json"

    @property
    def dataset(self) -> Path:
        """`dataset.json`, see `Inventory`."""
        return self.path / "dataset.json"

    @property
    def dataset_csv(self) -> Path:
        """What training makes of each example, replaced whole when it starts; absent where no trainer wrote it; writer:
        trainer."""
        return self.path / "dataset.csv"

    @property
    def train_csv(self) -> Path:
        """One row per optimizer update; writer: trainer."""
        return self.path / "train.csv"

    @property
    def validation_csv(self) -> Path:
        """One row per held-out loss; absent where none is measured; writer: trainer."""
        return self.path / "validation.csv"

    @property
    def validation_examples_csv(self) -> Path:
        """Held-out losses of single examples, written before the step's row of `validation_csv`; writer: trainer."""
        return self.path / "validation_examples.csv"

    def system_csv(self, machine: int = 1) -> Path:
        """The machine while programs of the run live; of a second machine, `system-2.csv`; writer: the recorder of
        the trainer or of an evaluator."""
        return self.path / ("system.csv" if machine == 1 else f"system-{machine}.csv")

    @property
    def metrics_csv(self) -> Path:
        """Derived from evaluations; writer: the holder of `metrics_lock`."""
        return self.path / "metrics.csv"

    @property
    def metrics_lock(self) -> Path:
        """Guards `metrics.csv`, `metrics.json` and `best.json`."""
        return self.path / ".metrics.lock"

    @property
    def metric_descriptions(self) -> Path:
        """`metrics.json`, see `MetricDescriptions`; absent where an older version evaluated the run."""
        return self.path / "metrics.json"

    @property
    def averages_csv(self) -> Path:
        """`metrics.csv` of averages, by number; absent where there is none; writer: the holder of `metrics_lock`."""
        return self.path / "averages.csv"

    @property
    def best(self) -> Path:
        """`best.json`, see `Best`."""
        return self.path / "best.json"

    @property
    def notes(self) -> Path:
        """Stars and notes of people; writer: the dashboard."""
        return self.path / "notes.json"

    @property
    def votes(self) -> Path:
        """What people preferred: one file for each voter, see `shared.run_folder.votes`; writer: the dashboard."""
        return self.path / "votes"

    def votes_of(self, voter: str) -> Path:
        """The file of a voter."""
        return self.votes / f"{voter}.jsonl"

    @property
    def snapshots(self) -> Path:
        """The watched folder."""
        return self.path / "snapshots"

    @property
    def deleted(self) -> Path:
        """`step-N.json`, see `DeletedSnapshot`; absent while no weights were deleted; writer: the holder of
        `metrics_lock`."""
        return self.path / "deleted"

    @property
    def averages(self) -> Path:
        """Averages of neighbouring snapshots, see `shared.run_folder.averages`; writer: the owner of the claim."""
        return self.path / "averages"

    @property
    def checkpoints(self) -> Path:
        """Resumable states."""
        return self.path / "checkpoints"

    @property
    def evaluations(self) -> Path:
        """One folder per evaluated step."""
        return self.path / "evaluations"

    @property
    def confirmations(self) -> Path:
        """One folder per finalist evaluated again, and the references of those further prompts."""
        return self.path / "confirmations"

    @property
    def strengths(self) -> Path:
        """One folder per strength at which the snapshot to ship was drawn, `strength_kind`."""
        return self.path / "strengths"

    @property
    def requested(self) -> Path:
        """One folder per request for pictures of a person's own prompts."""
        return self.path / "requested"

    def tracker(self, name: str) -> Path:
        """Folder of what a tracker writes; `<name>.json` beside it is what it was given; writer: its follower."""
        return self.path / "trackers" / name

    @property
    def prompts(self) -> Path:
        """The run's copy of the file of `evaluation.prompts`; absent where a run has none."""
        return self.path / "prompts.txt"

    @property
    def references(self) -> Path:
        """The real pictures samples are compared with, as the evaluator sees them: `<prompt id>.png`."""
        return self.path / "references"

    @property
    def further_references(self) -> Path:
        """Likewise of the further prompts that finalists are also evaluated on; absent if no pairs are left."""
        return self.confirmations / self.references.name

    @property
    def claims(self) -> Path:
        """Who is evaluating what."""
        return self.path / ".claims"

    @property
    def control(self) -> Path:
        """Requests and answers."""
        return self.path / "control"

    @property
    def processes(self) -> Path:
        """One status file per role."""
        return self.path / "processes"

    @property
    def logs(self) -> Path:
        """One log per role."""
        return self.path / "logs"

    @property
    def exports(self) -> Path:
        """LoRAs in other formats; writer: `run.py export`."""
        return self.path / "exports"

    @property
    def staging(self) -> Path:
        """Where folders are filled before they are renamed into place."""
        return self.path / ".staging"

    def snapshot(self, step: int) -> Path:
        """Folder of the snapshot of a step, or of an average."""
        return (self.averages if is_average(step) else self.snapshots) / step_name(step)

    def deletion(self, step: int) -> Path:
        """The record that the weights of a step were deleted."""
        return self.deleted / f"{step_name(step)}.json"

    def checkpoint(self, step: int) -> Path:
        """Folder of the checkpoint of a step."""
        return self.checkpoints / step_name(step)

    def evaluation(self, step: int) -> Path:
        """Folder of the evaluation of a step; step 0 is the base model."""
        return self.result("evaluations", step)

    def result(self, kind: ResultKind, step: int) -> Path:
        """Folder of one kind of result of a step."""
        return self.path / kind / step_name(step)

    def read_config(self, overrides: list[str] | None = None) -> Config:
        """The configuration this run was made with; `run.output_dir` is where the folder lies by now."""
        config = load_config(self.config, overrides)
        if (config.run.output_dir / self.path.name).resolve() == self.path.resolve():
            return config
        return config.model_copy(update={"run": config.run.model_copy(update={"output_dir": self.path.parent})})

    def read_record(self) -> RunRecord:
        """`run.json`."""
        return RunRecord.read(self.record)

    def read_inventory(self) -> Inventory | None:
        """`dataset.json`; None in a run folder of an older version."""
        try:
            return Inventory.read(self.dataset)
        except FileNotFoundError:
            return None

    def read_metric_descriptions(self) -> MetricDescriptions:
        """`metrics.json`; what older versions computed where it is absent."""
        try:
            return MetricDescriptions.read(self.metric_descriptions)
        except FileNotFoundError:
            return OLDER_METRICS

    def read_best(self) -> Best | None:
        """`best.json`; None before the first verdict."""
        try:
            return Best.read(self.best)
        except FileNotFoundError:
            return None

    def read_result(self, step: int, kind: ResultKind = "evaluations") -> EvaluationResult | None:
        """The result of a step; None while there is none.

        Raises:
            RunFolderError: its record is damaged.
        """
        folder = self.result(kind, step)
        try:
            return EvaluationResult.read(folder / "result.json")
        except FileNotFoundError:
            return None
        except RunFolderError as error:
            again = f"move the folder {folder} away, then `python run.py evaluate {self.path}` makes it again"
            raise RunFolderError(str(error), again) from None

    def published_snapshots(self) -> dict[int, Manifest]:
        """Whole snapshots of this run by step, ascending; what other runs left here is ignored."""
        return _published(self.snapshots, self.read_record().run_id)

    def snapshots_to_evaluate(self, besides: Collection[int] = ()) -> set[int]:
        """Steps of this run's snapshots `besides` these; one with a damaged manifest counts: its result says so."""
        run_id = self.read_record().run_id
        steps = steps_in(self.snapshots) - set(besides)
        return {step for step in steps if _may_be_ours(self.snapshot(step), run_id, step)}

    def deleted_snapshots(self) -> set[int]:
        """Steps whose weights `train.snapshots_total_limit` has deleted. One that is also in `snapshots/` is there:
        whoever was deleting it was killed before."""
        matches = (STEP_RECORD.fullmatch(path.name) for path in self.deleted.glob("step-*.json"))
        return {int(match[1]) for match in matches if match} - steps_in(self.snapshots)

    def read_deleted(self, step: int) -> DeletedSnapshot | None:
        """What is known of weights that were deleted; None: none of this step were, or the record is damaged."""
        if self.snapshot(step).exists():
            return None
        with contextlib.suppress(FileNotFoundError, RunFolderError):
            return DeletedSnapshot.read(self.deletion(step))
        return None

    def published_averages(self) -> dict[int, Manifest]:
        """Whole averages of snapshots by number."""
        return _published(self.averages, self.read_record().run_id)

    def published_checkpoints(self) -> dict[int, Manifest]:
        """Whole checkpoints of this run by step, ascending."""
        return _published(self.checkpoints, self.read_record().run_id)


def step_name(step: int) -> str:
    """`step-00000100`; of an average, `step-100001000000300`."""
    return f"step-{step:08d}"


def strength_kind(strength: float) -> ResultKind:
    """`strengths/0.80`."""
    return f"strengths/{strength:.2f}"


def strength_of(kind: ResultKind) -> float | None:
    """Of a `strength_kind`; None: it is another kind."""
    folder, _, strength = kind.partition("/")
    return float(strength) if folder == "strengths" else None


def strengths_in(run: RunDir) -> list[float]:
    """Strengths for which there is a folder of results, ascending."""
    return sorted(float(path.name) for path in run.strengths.glob("[0-9]*.[0-9][0-9]"))


def steps_in(folder: Path) -> set[int]:
    """Steps of the published folders in `folder`, by name alone: a published name is whole."""
    try:
        with os.scandir(folder) as entries:  # asked for many times a second, and far quicker than `Path.glob`
            matches = [STEP_FOLDER.fullmatch(entry.name) for entry in entries]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return set()
    return {int(match[1]) for match in matches if match}


def open_run(path: Path) -> RunDir:
    """An existing run folder.

    Raises:
        RunFolderError: `path` is not one.
    """
    run = RunDir(path.resolve())
    if not run.record.is_file() or not run.config.is_file():
        raise RunFolderError(
            f"{path} is not a run folder", "give a folder that holds run.json and config.toml, such as those in runs/"
        )
    run.read_record()
    return run


def free_name(output_dir: Path, name: str) -> str:
    """`name`, or `name-2`, `name-3` … : the next after all that are there. A gap is the name of a run that was removed,
    and stays its own."""
    last = max(numbered(output_dir, name), default=0)
    return f"{name}-{last + 1}" if last else name


def numbered(output_dir: Path, name: str) -> dict[int, Path]:
    """What is called `name` (1), `name-2` (2) …, ascending."""
    pattern = re.compile(rf"{re.escape(name)}(?:-([2-9]|[1-9]\d+))?")
    entries = os.scandir(output_dir) if output_dir.is_dir() else ()
    found = {int(match[1] or 1): Path(entry) for entry in entries if (match := pattern.fullmatch(entry.name))}
    return dict(sorted(found.items()))


def list_runs(output_dir: Path) -> list[RunDir]:
    """Every run folder under `output_dir`, newest first; one that is still being made has a hidden name."""
    written: dict[Path, float] = {}
    for record in output_dir.glob("[!.]*/run.json"):
        with contextlib.suppress(OSError):  # it may go while we look
            written[record.parent.resolve()] = record.stat().st_mtime
    return [RunDir(path) for path in sorted(written, key=lambda path: written[path], reverse=True)]


def _published(folder: Path, run_id: str) -> dict[int, Manifest]:
    manifests: dict[int, Manifest] = {}
    for step in sorted(steps_in(folder)):
        with contextlib.suppress(RunFolderError):
            manifest = read_manifest(folder / step_name(step))
            if manifest and (manifest.run_id, manifest.step) == (run_id, step):
                manifests[step] = manifest
    return manifests


def _may_be_ours(folder: Path, run_id: str, step: int) -> bool:
    try:
        manifest = read_manifest(folder)
    except RunFolderError:
        return True
    return manifest is not None and (manifest.run_id, manifest.step) == (run_id, step)
