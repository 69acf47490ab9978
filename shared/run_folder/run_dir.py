"""The run folder: every path of it, by name, and how it comes into being.

`RunDir` knows paths and nothing else; it is what programs pass around. `create_run` checks configuration, data set and
base model first and writes nothing when anything is wrong.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.config import epochs, targets
from shared.config.dumping import dump_config
from shared.config.loading import load_config
from shared.config.path_settings import FOLDER_KEYS
from shared.config.schema import Config
from shared.data import buckets, dataset, held_out, references
from shared.data.headers import Headers
from shared.data.inspection import Inspection
from shared.data.sources import Pair
from shared.errors import RunFolderError, writing
from shared.files.digests import Digests
from shared.files.progress_lines import spoken
from shared.files.publication import fsync, read_manifest
from shared.machine import hardware
from shared.models import base_model, external_vae, lora_file
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records import (
    Best,
    DatasetRecord,
    EvaluationResult,
    InitialLora,
    Inventory,
    Manifest,
    PresetRecord,
    RunRecord,
    replace_file,
)

ResultKind = str
"""A folder of results by step: `evaluations`; `confirmations`, of the finalists, on other prompts; `requested/<id>`."""
SHEET = "sheet.webp"
"""A result's contact sheet."""
STEP_FOLDER = re.compile(r"step-(\d{8,})")
LIBRARIES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors")


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
    def train_csv(self) -> Path:
        """One row per optimizer update; writer: trainer."""
        return self.path / "train.csv"

    @property
    def validation_csv(self) -> Path:
        """One row per held-out loss; absent where none is measured; writer: trainer."""
        return self.path / "validation.csv"

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
    def best(self) -> Path:
        """`best.json`, see `Best`."""
        return self.path / "best.json"

    @property
    def snapshots(self) -> Path:
        """The watched folder."""
        return self.path / "snapshots"

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
    def requested(self) -> Path:
        """One folder per request for pictures of a person's own prompts."""
        return self.path / "requested"

    def tracker(self, name: str) -> Path:
        """Folder of what a tracker writes; `<name>.json` beside it is what it was given; writer: its follower."""
        return self.path / "trackers" / name

    @property
    def references(self) -> Path:
        """The real pictures samples are compared with, as the evaluator sees them: `<prompt id>.png`."""
        return self.path / "references"

    @property
    def further_references(self) -> Path:
        """Likewise of the further prompts that finalists are evaluated on."""
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
        """Folder of the snapshot of a step."""
        return self.snapshots / step_name(step)

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
        """The result of a step; None while there is none."""
        try:
            return EvaluationResult.read(self.result(kind, step) / "result.json")
        except FileNotFoundError:
            return None

    def published_snapshots(self) -> dict[int, Manifest]:
        """Whole snapshots of this run by step, ascending; what other runs left here is ignored."""
        return _published(self.snapshots, self.read_record().run_id)

    def snapshots_to_evaluate(self, besides: Collection[int] = ()) -> set[int]:
        """Steps of this run's snapshots `besides` these; one with a damaged manifest counts: its result says so."""
        run_id = self.read_record().run_id
        steps = steps_in(self.snapshots) - set(besides)
        return {step for step in steps if _may_be_ours(self.snapshot(step), run_id, step)}

    def published_checkpoints(self) -> dict[int, Manifest]:
        """Whole checkpoints of this run by step, ascending."""
        return _published(self.checkpoints, self.read_record().run_id)


def step_name(step: int) -> str:
    """`step-00000100`."""
    return f"step-{step:08d}"


def steps_in(folder: Path) -> set[int]:
    """Steps of the published folders in `folder`, by name alone: a published name is whole."""
    matches = (STEP_FOLDER.fullmatch(path.name) for path in folder.glob("step-*"))
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


def create_run(
    config: Config,
    prepare: Callable[[RunDir], None] = lambda run: None,
    estimate: Callable[[], dict[str, Any] | None] = lambda: None,
    say: Callable[[str], object] = lambda text: None,
) -> RunDir:
    """Check everything, then make the run folder in one rename; `prepare` may put more into it before that.

    estimate: asked last of the checks for the memory to record; may refuse.
    say: told what was noticed about the data set.

    Raises:
        DataError, ModelError, ConfigError: data set or base model cannot be used, or do not suit the settings; nothing
            is written then.
        DeviceError: `estimate` says that it cannot fit; likewise.
        RunFolderError: a folder of that name exists and is no run.
    """
    assert config.run.name
    target = (config.run.output_dir / config.run.name).resolve()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise RunFolderError(f"{target} exists", "choose another run.name, or move it away")
    initial_lora = _initial_lora(config)
    digest = Digests(dataset.digests_path(config))
    headers = Headers(dataset.headers_path(config))
    pairs = dataset.scan(config, Inspection(headers, digest, spoken(say, "pictures looked at")), say)
    record = _describe_run(config, pairs, digest)
    record = record.model_copy(update={"memory": estimate(), "init_from": initial_lora})
    config = epochs.resolved(config, record.dataset.pass_length)
    if config.train.max_train_epochs:
        say(epochs.describe(config, record.dataset.pass_length))
    if multiple := base_model.size_multiple(config.model):
        buckets.sizes(config.data.resolution, multiple, square=not config.data.buckets)
    stage = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}"
    with writing("run.output_dir", target.parent):
        stage.mkdir(parents=True)
    try:
        _fill(RunDir(stage), config, record)
        dataset.inventory(pairs, digest, dataset.folder_of(config)).write(RunDir(stage).dataset)
        if multiple:
            references.publish_missing(RunDir(stage), config, multiple, lambda: pairs)
        prepare(RunDir(stage))
        with writing("data.cache_dir", dataset.cache_dir(config)):
            digest.save()
            headers.save()
        stage.rename(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    fsync(target.parent)
    return RunDir(target)


def free_name(output_dir: Path, name: str) -> str:
    """`name`, or `name-2`, `name-3` … : the first that no folder has."""
    taken = {entry.name for entry in os.scandir(output_dir)} if output_dir.is_dir() else set[str]()
    number = 1
    while (candidate := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return candidate


def list_runs(output_dir: Path) -> list[RunDir]:
    """Every run folder under `output_dir`, newest first."""
    runs = [RunDir(path.parent.resolve()) for path in output_dir.glob("*/run.json")]
    return sorted(runs, key=lambda run: run.record.stat().st_mtime, reverse=True)


def _describe_run(config: Config, pairs: Sequence[Pair], digest: Digests) -> RunRecord:
    seed = config.train.seed
    named = config.data.validation_ids
    distinct = dataset.one_of_each(pairs, digest, named)
    chosen = held_out.choose(distinct, config.data.num_validation, seed, named)
    training = dataset.training_pairs(pairs, chosen, config.data.train_size, seed, digest)
    base_model.require_same_description(config.model)
    base_model.require_clip_skip(
        config.model.clip_skip, base_model.family(config.model.path, revision=config.model.revision)
    )
    targets.require_matrices(
        config.lora.target_modules,
        config.train.optimizer,
        linear_projections=base_model.has_linear_projections(config.model) is not False,
        use_dora=config.lora.use_dora,
    )
    return RunRecord(
        run_id=uuid.uuid4().hex[:12],
        name=config.run.name or "",
        seed=seed,
        versions={name: importlib.metadata.version(name) for name in LIBRARIES},
        hardware=hardware.describe(),
        dataset=DatasetRecord(
            path=config.data.path,
            num_images=len(pairs),
            num_regularization=sum(pair.is_regularization for pair in pairs),
            fingerprint=dataset.fingerprint(pairs, digest),
            pass_length=epochs.pass_length(training, dataset.regularization_pairs(pairs, chosen, digest)),
            held_out=tuple(chosen),
        ),
        base_model={
            **base_model.identify(
                config.model.path, revision=config.model.revision, variant=config.model.variant, digest=digest
            ),
            **external_vae.identify(config.model),
        },
        folders=_folders(config),
        preset=_preset(config),
    )


def _folders(config: Config) -> dict[str, str]:
    """Fingerprints of the local folders that settings name, beside data set and base model."""
    named = {key: base_model.local_folder(config.value(key)) for key in FOLDER_KEYS}
    return {key: base_model.folder_fingerprint(folder) for key, folder in named.items() if folder}


def _initial_lora(config: Config) -> InitialLora | None:
    """The file of `lora.init_from`, found fit for these settings."""
    if not config.lora.init_from:
        return None
    file = lora_file.read(Path(config.lora.init_from))
    lora_file.check(file, config.lora, base_model.family(config.model.path, config.model.revision))
    return file.record()


def _preset(config: Config) -> PresetRecord | None:
    name = config.run.preset
    return PresetRecord(name=name, reason=config.run.preset_reason or "") if name else None


def _fill(run: RunDir, config: Config, record: RunRecord) -> None:
    for folder in (
        run.snapshots,
        run.checkpoints,
        run.evaluations,
        run.control,
        run.processes,
        run.logs,
        run.staging,
        run.claims,
    ):
        folder.mkdir(parents=True)
    replace_file(run.config, dump_config(config).encode())
    record.write(run.record)


def _published(folder: Path, run_id: str) -> dict[int, Manifest]:
    found: dict[int, Manifest] = {}
    for step in sorted(steps_in(folder)):
        with contextlib.suppress(RunFolderError):
            manifest = read_manifest(folder / step_name(step))
            if manifest and (manifest.run_id, manifest.step) == (run_id, step):
                found[step] = manifest
    return found


def _may_be_ours(folder: Path, run_id: str, step: int) -> bool:
    try:
        manifest = read_manifest(folder)
    except RunFolderError:
        return True
    return manifest is not None and (manifest.run_id, manifest.step) == (run_id, step)
