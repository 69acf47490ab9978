"""A run folder as the pages see it: read as it grows, shared by all viewers. Nothing here knows of Streamlit.

Records are read again only when their file was written again. One that is damaged counts as absent, so that it blanks
nothing else; `damaged` holds what is wrong with it, and the page's alerts say so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from dashboard.data.csv_reader import GrowingTable
from dashboard.text.language import say
from shared.config.schema import Config
from shared.errors import RunFolderError
from shared.files.publication import MANIFEST, read_manifest, verify
from shared.files.regular import leads_out
from shared.run_folder import requests
from shared.run_folder.averages import is_average
from shared.run_folder.known_settings import Settings, known_settings
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.notes import Notes, read_notes
from shared.run_folder.pending import BASE_MODEL, without_result
from shared.run_folder.phrase import Unit
from shared.run_folder.records.best import Best
from shared.run_folder.records.deleted_snapshot import DeletedSnapshot
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.export_format import ExportFormat
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import ResultKind, RunDir, steps_in
from shared.run_folder.tables import SYSTEM_COLUMNS, TRAIN_COLUMNS, VALIDATION_COLUMNS, read_rows

TEXT_COLUMNS = frozenset({"timestamp", "status", "reason", "signals", "sure"})
MAX_KEPT = 32
MAX_MACHINES = 16
_NOTHING: Any = object()

Kept = TypeVar("Kept")
Version = tuple[tuple[int, int], tuple[int, int]]


class RunReader:
    """Everything the pages show of one run."""

    def __init__(self, run: RunDir, run_id: str) -> None:
        self.run, self.run_id, self.name = run, run_id, run.path.name
        self._config: tuple[tuple[int, int], Config] | None = None
        self._train = GrowingTable(run.train_csv, TRAIN_COLUMNS)
        self._validation = GrowingTable(run.validation_csv, VALIDATION_COLUMNS)
        self._system: dict[int, GrowingTable] = {}
        self._metrics: tuple[Version, pd.DataFrame] | None = None
        self._descriptions: tuple[tuple[int, int], MetricDescriptions] | None = None
        self._best: tuple[tuple[int, int], Best | None] | None = None
        self._notes: tuple[tuple[int, int], Notes | None] | None = None
        self._results: dict[tuple[ResultKind, int], tuple[int, EvaluationResult | None]] = {}
        self._manifests: dict[int, Manifest] = {}
        self._kept: dict[tuple[Any, ...], Any] = {}
        self.damaged: dict[Path, RunFolderError] = {}

    def is_there(self) -> bool:
        """Whether the folder still holds this run: it may be gone, or another one have taken its place."""
        with contextlib.suppress(RunFolderError, OSError):
            return self.run.read_record().run_id == self.run_id
        return False

    @property
    def config(self) -> Config:
        """The settings in force: a run may be resumed with others."""
        version = version_of(self.run.config)
        if self._config is None or self._config[0] != version:
            self._config = (version, self.run.read_config())
        return self._config[1]

    @property
    def known_settings(self) -> Settings:
        """The settings in force as they are shown: of another trainer's LoRAs only what is known."""
        return known_settings(self.run, self.config)

    @property
    def exports(self) -> tuple[ExportFormat, ...]:
        """The formats in which a snapshot can be had for other programs."""
        return self.keep(("exports",), lambda: self.run.read_record().exports)

    @property
    def of_pictures(self) -> bool:
        """Whether what is learnt from are pictures; also while that cannot be read."""
        return self.keep(("of_pictures",), self._of_pictures)

    def _of_pictures(self) -> bool:
        with contextlib.suppress(RunFolderError, OSError):
            inventory = self.run.read_inventory()
            return inventory is None or not inventory.example
        return True

    @property
    def unit(self) -> Unit:
        """What its snapshots are counted in; steps while its record cannot be read."""
        with contextlib.suppress(RunFolderError, OSError):
            return self.run.read_record().unit
        return "step"

    def train(self) -> pd.DataFrame:
        """`train.csv` as numbers; `timestamp` in epoch seconds."""
        return self._unless_damaged(self.run.train_csv, self._train.read, self._train.empty)

    def validation(self) -> pd.DataFrame:
        """`validation.csv`: losses on pictures never trained on; empty where none are computed."""
        return self._unless_damaged(self.run.validation_csv, self._validation.read, self._validation.empty)

    def system(self) -> list[pd.DataFrame]:
        """`system.csv`, and that of each further machine which recorded itself; those without a row are left out."""
        tables: list[pd.DataFrame] = []
        for machine in range(1, MAX_MACHINES + 1):
            path = self.run.system_csv(machine)
            if not path.is_file():
                break
            table = self._system.setdefault(machine, GrowingTable(path, SYSTEM_COLUMNS))
            tables.append(self._unless_damaged(path, table.read, table.empty))
        return [table for table in tables if len(table)]

    def metrics(self) -> pd.DataFrame:
        """`metrics.csv` by ascending step, missing as NaN; replaced whole, so read whole when it changes."""
        version = self.metrics_version()
        if self._metrics is None or self._metrics[0] != version:
            rows = self._unless_damaged(self.run.metrics_csv, lambda: read_rows(self.run.metrics_csv), [])
            self._metrics = (version, _metrics_frame(rows, self.descriptions.header))
        return self._metrics[1]

    def metrics_version(self) -> Version:
        """Changes whenever metrics.csv does, or what it means."""
        return version_of(self.run.metrics_csv), version_of(self.run.metric_descriptions)

    @property
    def descriptions(self) -> MetricDescriptions:
        """What the columns of `metrics.csv` mean."""
        version = version_of(self.run.metric_descriptions)
        if self._descriptions is None or self._descriptions[0] != version:
            path, unknown = self.run.metric_descriptions, MetricDescriptions()
            self._descriptions = (version, self._unless_damaged(path, self.run.read_metric_descriptions, unknown))
        return self._descriptions[1]

    def _unless_damaged(self, path: Path, read: Callable[[], Kept], otherwise: Kept) -> Kept:
        """What is read from a file of the run; if it is damaged, or a link out of the run, `otherwise`."""
        try:
            if leads_out(path, self.run.path):
                raise RunFolderError(f"{path} leads out of the run folder", f"put the file itself at {path}")
            value = read()
        except RunFolderError as error:
            self.damaged[path] = error
            return otherwise
        self.damaged.pop(path, None)
        return value

    def keep(self, key: tuple[Any, ...], make: Callable[[], Kept]) -> Kept:
        """What `make` returned for this key before, for any viewer, else what it returns now; what is not asked for
        goes first."""
        kept = self._kept.pop(key, _NOTHING)
        if kept is _NOTHING:
            kept = make()
            for old in list(self._kept)[: -MAX_KEPT + 1]:
                self._kept.pop(old, None)
        self._kept[key] = kept
        return kept

    def last_step(self) -> int:
        """The last step logged; 0 before the first."""
        steps = self.train()["step"]
        return int(steps.iloc[-1]) if len(steps) else 0

    def base_metrics(self) -> dict[str, float]:
        """The base model's values: metrics.csv at step 0, missing left out."""
        rows = self.metrics().query("step == 0")[[column.name for column in self.descriptions.compared]]
        return {str(name): float(value) for name, value in rows.iloc[0].dropna().items()} if len(rows) else {}

    def rows(self) -> dict[int, dict[str, Any]]:
        """Step → its row of `metrics.csv`; number of an average → its row of `averages.csv`."""

        def rows() -> dict[int, dict[str, Any]]:
            path, header = self.run.averages_csv, self.descriptions.header
            averages = self._unless_damaged(path, lambda: read_rows(path), [])
            tables = (self.metrics(), _metrics_frame(averages, header))
            return {int(row["step"]): row for table in tables for row in table.to_dict("records")}

        return self.keep(("rows", self.metrics_version(), version_of(self.run.averages_csv)), rows)

    def failures(self) -> dict[int, str]:
        """Step → why its evaluation failed."""
        return self._reasons("failed")

    def skipped(self) -> dict[int, str]:
        """Step → why it was skipped: such a result has neither numbers nor pictures."""
        return self._reasons("skipped")

    def missing(self) -> dict[str, dict[int, str]]:
        """Metric → step → why there is no value, failed evaluations included, skipped ones not."""
        metrics, failed = self.metrics().query("status != 'skipped'"), self.failures()
        return {
            name: {step: failed.get(step) or self._blank_reason(step, name) for step in _steps_without(metrics, name)}
            for name in (column.name for column in self.descriptions.compared)
        }

    def stops(self) -> dict[int, str]:
        """Step → who asked for the stop that happened there."""
        answered = (
            (request, requests.read_answer(self.run, request)) for request in requests.requests(self.run, "stop")
        )
        return {answer.step: request.by for request, answer in answered if answer.step is not None}

    def snapshot_steps(self) -> list[int]:
        """Steps with a published snapshot, ascending; the weights of some may have been deleted since."""
        return sorted(steps_in(self.run.snapshots) | self.run.deleted_snapshots())

    def deleted(self, step: int) -> DeletedSnapshot | None:
        """What is known of weights that `train.snapshots_total_limit` has deleted; None: they are there."""
        return self.run.read_deleted(step) if step in self.deleted_steps() else None

    def deleted_steps(self) -> set[int]:
        """Steps whose weights were deleted."""
        key = ("deleted", version_of(self.run.deleted), version_of(self.run.snapshots))
        return self.keep(key, self.run.deleted_snapshots)

    def evaluated_steps(self) -> list[int]:
        """Steps with a published evaluation, failed and skipped ones too, ascending."""
        return sorted(step for step in steps_in(self.run.evaluations) if not is_average(step))

    def averages(self) -> list[int]:
        """Numbers of the averages of snapshots that were evaluated: see `shared.run_folder.averages`."""
        return sorted(number for number in steps_in(self.run.evaluations) if is_average(number))

    def waiting_steps(self) -> list[int]:
        """Snapshots still to be evaluated, ascending."""
        return sorted(without_result(self.run) - {BASE_MODEL})

    def drawn_steps(self) -> list[int]:
        """Those of them that were not skipped."""
        skipped = self.skipped()
        return [step for step in self.evaluated_steps() if step not in skipped]

    def prompts_with_sources(self) -> dict[str, str]:
        """The run's prompts whose pictures are made from sources, by id; empty where none are."""
        results = (self.result(step) for step in self.drawn_steps())
        samples = next((result.samples for result in results if result and result.samples), ())
        return {sample.prompt_id: sample.prompt for sample in samples if sample.num_sources}

    def has_no_pictures(self) -> bool:
        """Whether there are results and none of them holds a picture: this task draws none."""
        results = (self.result(step) for step in self.drawn_steps())
        samples = next((result.samples for result in results if result and result.samples), ())
        return bool(samples) and not any(sample.image for sample in samples)

    def evaluation_versions(self) -> list[tuple[int, str]]:
        """Steps drawn, and averages, with a text each that changes when the step is evaluated anew."""
        drawn = [*self.drawn_steps(), *self.averages()]
        versions = ((step, self.evaluation_version(step)) for step in drawn)
        return [(step, f"{self.run_id}-{version:x}") for step, version in versions if version]

    def evaluation_version(self, step: int) -> int:
        """Changes when a step is evaluated anew; 0 while it is not."""
        return version_of(self.run.evaluation(step))[0]

    def manifest(self, step: int) -> Manifest | None:
        """What a snapshot folder holds; None if it is gone or damaged. A published one never changes."""
        if step in self.deleted_steps():
            return None
        if step not in self._manifests:
            folder = self.run.snapshot(step)
            if manifest := self._unless_damaged(folder / MANIFEST, lambda: read_manifest(folder), None):
                self._manifests[step] = manifest
        return self._manifests.get(step)

    def damage(self, step: int) -> str:
        """What is wrong with a snapshot's files; empty when they are as published. They are read once."""
        folder = self.run.snapshot(step)
        written = tuple(version_of(path) for path in sorted(folder.glob("*")))
        return self.keep(("damage", step, written), lambda: _damage(folder))

    def result(self, step: int, kind: ResultKind = "evaluations") -> EvaluationResult | None:
        """The result of a step; None while there is none, or a damaged one."""
        path = self.run.result(kind, step) / "result.json"
        try:
            written = path.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return None
        if self._results.get((kind, step), (0, None))[0] != written:
            result = self._unless_damaged(path, lambda: EvaluationResult.read(path), None)
            self._results[kind, step] = (written, result)
        return self._results[kind, step][1]

    def best(self) -> Best | None:
        """The verdict so far."""
        version = version_of(self.run.best)
        if self._best is None or self._best[0] != version:
            self._best = (version, self._unless_damaged(self.run.best, self.run.read_best, None))
        return self._best[1]

    def notes(self) -> Notes | None:
        """What people said; None if their file cannot be read."""
        version = version_of(self.run.notes)
        if self._notes is None or self._notes[0] != version:
            self._notes = (version, self._unless_damaged(self.run.notes, lambda: read_notes(self.run), None))
        return self._notes[1]

    def anchors(self) -> dict[str, dict[str, float | None]]:
        """Metric → what shuffled pairs and real pictures score, where the evaluator says so."""
        best = self.best()
        ends = {name: anchor.model_dump() for name, anchor in best.anchors.items()} if best else {}
        for column in self.descriptions.of_role("guard") if best else ():
            real = best.metrics.get(column.guard.real) if best and column.guard else None
            if real is not None:
                ends[column.name] = {"real": real}
        return ends

    def _reasons(self, status: str) -> dict[int, str]:
        return {step: str(row["reason"]) for step, row in self.rows().items() if row["status"] == status}

    def _blank_reason(self, step: int, name: str) -> str:
        result = self.result(step)
        if result and result.samples and not any(name in sample.metrics for sample in result.samples):
            return result.missing.get(name) or say("evaluated by a version without this metric")
        return (result.missing.get(name) if result else None) or "no reason was given"


def version_of(path: Path) -> tuple[int, int]:
    """Changes whenever a file is written; zeros while there is none."""
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)


def _damage(folder: Path) -> str:
    try:
        verify(folder)
    except RunFolderError as error:
        return str(error)
    return ""


def _steps_without(metrics: pd.DataFrame, name: str) -> list[int]:
    return [int(step) for step in metrics["step"][metrics[name].isna()]]


def _metrics_frame(rows: list[dict[str, str]], header: tuple[str, ...]) -> pd.DataFrame:
    """Described columns first; others that the file has are kept."""
    added = [column for column in (rows[0] if rows else {}) if column not in header]
    frame = pd.DataFrame(rows, columns=[*header, *added])
    for column in frame.columns.difference(list(TEXT_COLUMNS)):
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    return frame.dropna(subset=["step"]).sort_values("step", ignore_index=True)
