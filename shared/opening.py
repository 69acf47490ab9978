"""The run folder a config names: made, or taken up again where it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import changes, checkpoints, dataset, targets
from shared.config import Config
from shared.digests import Digests
from shared.errors import ConfigError, RunFolderError
from shared.rundir import RunDir, create_run, free_name, open_run, steps_in
from shared.status import vacant
from shared.tables import read_rows


@dataclass(frozen=True)
class Resume:
    """How a run folder that exists already is meant to be taken up."""

    new: bool = False
    auto: bool = True
    allow_change: tuple[str, ...] = ()
    from_checkpoint: Path | None = None


def open_or_create(
    config: Config, resume: Resume, say: Callable[[str], object], estimate: Callable[[], dict[str, Any] | None]
) -> RunDir:
    """The run folder, its settings those of the config.

    say: told of every setting that is changed, and what was noticed about the data set of a new run.
    estimate: the memory forecast, kept in the record of a new run.

    Raises:
        ConfigError, RunFolderError, DataError: it can neither be made nor taken up like this; nothing has changed.
    """
    assert config.run.name
    path = config.run.output_dir / config.run.name
    if resume.new:
        name = free_name(config.run.output_dir, config.run.name)
        config = config.model_copy(update={"run": config.run.model_copy(update={"name": name})})
    if resume.new or not path.exists() or _clear_if_barren(path, config):
        return _create(config, resume.from_checkpoint, say, estimate)
    return _take_up(open_run(path), config, resume, say)


def _clear_if_barren(path: Path, config: Config) -> bool:
    """Remove a run that never made a step (its optimizer was misspelt, say) where its settings have changed since."""
    run = open_run(path)
    learnt = read_rows(run.train_csv) or checkpoints.own_steps(run) or steps_in(run.snapshots)
    if learnt or not changes.differences(run.read_config(), config):
        return False
    with vacant(run, "supervisor"), vacant(run, "trainer"), vacant(run, "evaluator"):
        shutil.rmtree(run.path)
    return True


def _take_up(run: RunDir, config: Config, resume: Resume, say: Callable[[str], object]) -> RunDir:
    step = None
    if resume.from_checkpoint:
        step = checkpoints.verify_checkpoint(resume.from_checkpoint).step
        changes.require_nothing_past(run, step)
    elif not resume.auto and (saved := checkpoints.own_steps(run)):
        raise RunFolderError(
            f"{run.path} holds a checkpoint of step {saved[0]}, and --no-auto-resume was given",
            "leave it out to go on from there, or start beside it with --new",
        )
    if changes.differences(run.read_config(), config):
        _require_same_data(run)
    for text in changes.describe(changes.apply(run, config, resume.allow_change, step)):
        say(f"changed: {text}")
    if resume.from_checkpoint:
        checkpoints.go_back(run, resume.from_checkpoint)
    return run


def _require_same_data(run: RunDir) -> None:
    """Before a change is written down: what the trainer would find only afterwards."""
    before = run.read_config()
    dataset.scan_again(before, run.read_record().dataset.fingerprint, Digests(dataset.digests_path(before)))


def _create(
    config: Config,
    from_checkpoint: Path | None,
    say: Callable[[str], object],
    estimate: Callable[[], dict[str, Any] | None],
) -> RunDir:
    """A new run, from nothing or from the state of any run's checkpoint."""
    targets.require_known(config.lora.target_modules)
    if from_checkpoint is None:
        return create_run(config, estimate=estimate, say=say)
    manifest = checkpoints.verify_checkpoint(from_checkpoint)
    changes.require_same_state(config, manifest)
    if manifest.step >= config.train.max_train_steps:
        raise ConfigError(
            f"train.max_train_steps is {config.train.max_train_steps}, the checkpoint is of step {manifest.step}",
            "steps are counted on from the checkpoint; set more of them",
        )
    return create_run(config, lambda run: checkpoints.adopt(run, from_checkpoint), estimate, say)
