"""A new run folder: everything is checked first, and nothing is written when anything is wrong."""

from __future__ import annotations

import importlib.metadata
import shutil
import uuid
from collections.abc import Callable
from typing import Any

from shared.config import epochs
from shared.config.dumping import dump_config
from shared.config.schema import RUN_NAME, RUN_NAME_RULE, Config
from shared.errors import RunFolderError, writing
from shared.files.publication import fsync
from shared.files.replacing import replace_file
from shared.launch.task import Plan, Say, Task
from shared.machine import hardware
from shared.machine.libraries import LIBRARIES
from shared.run_folder.records.run_record import PresetRecord, RunRecord
from shared.run_folder.run_dir import RunDir


def create_run(
    config: Config,
    task: Task,
    prepare: Callable[[RunDir], None] = lambda run: None,
    estimate: Callable[[], dict[str, Any] | None] = lambda: None,
    say: Say = lambda text: None,
) -> RunDir:
    """Check everything, then make the run folder in one rename; `prepare` may put more into it before that.

    estimate: asked last of the checks for the memory to record; may refuse.
    say: told what was noticed about the data.

    Raises:
        DataError, ModelError, ConfigError: data or base model cannot be used, or do not suit the settings; nothing is
            written then.
        DeviceError: `estimate` says that it cannot fit; likewise.
        RunFolderError: a folder of that name exists and is no run, or no command could take a run of that name.
    """
    assert config.run.name
    if not RUN_NAME.fullmatch(config.run.name):  # `--new` has made it longer, say
        raise RunFolderError(
            f"the run would be called {config.run.name!r}: a name {RUN_NAME_RULE}", "give it another name"
        )
    target = (config.run.output_dir / config.run.name).resolve()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise RunFolderError(f"{target} exists", f"choose another run.name, or move {target} away")
    plan = task.plan(config, say)
    record = _record(config, plan, estimate())
    config = epochs.resolved(config, record.dataset.pass_length)
    if config.train.max_train_epochs:
        say(epochs.describe(config, record.dataset.pass_length))
    stage = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}"
    with writing("run.output_dir", target.parent):
        stage.mkdir(parents=True)
    try:
        _fill(RunDir(stage), config, record)
        plan.fill(RunDir(stage), config)
        prepare(RunDir(stage))
        stage.rename(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    fsync(target.parent)
    return RunDir(target)


def _record(config: Config, plan: Plan, memory: dict[str, Any] | None) -> RunRecord:
    preset = config.run.preset
    return RunRecord(
        run_id=uuid.uuid4().hex[:12],
        name=config.run.name or "",
        seed=config.train.seed,
        versions={name: importlib.metadata.version(name) for name in LIBRARIES},
        hardware=hardware.describe(),
        dataset=plan.dataset,
        base_model=dict(plan.base_model),
        folders=dict(plan.folders),
        init_from=plan.init_from,
        imported=plan.imported,
        preset=PresetRecord(name=preset, reason=config.run.preset_reason or "") if preset else None,
        exports=plan.exports,
        tracker_names=dict(plan.tracker_names),
        memory=memory,
    )


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
