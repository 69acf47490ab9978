"""The run folder a config names: made, or taken up again where it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import changes, checkpoints
from shared.config import Config
from shared.errors import ConfigError, RunFolderError
from shared.rundir import RunDir, create_run, free_name, open_run


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

    say: told of every setting that is changed. estimate: the memory forecast, kept in the record of a new run.

    Raises:
        ConfigError, RunFolderError, DataError: it can neither be made nor taken up like this; nothing has changed.
    """
    assert config.run.name
    path = config.run.output_dir / config.run.name
    if resume.new:
        name = free_name(config.run.output_dir, config.run.name)
        config = config.model_copy(update={"run": config.run.model_copy(update={"name": name})})
    if resume.new or not path.exists():
        return _create(config, resume.from_checkpoint, estimate)
    return _take_up(open_run(path), config, resume, say)


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
    for text in changes.describe(changes.apply(run, config, resume.allow_change, step)):
        say(f"changed: {text}")
    if resume.from_checkpoint:
        checkpoints.go_back(run, resume.from_checkpoint)
    return run


def _create(config: Config, from_checkpoint: Path | None, estimate: Callable[[], dict[str, Any] | None]) -> RunDir:
    """A new run, from nothing or from the state of any run's checkpoint."""
    if from_checkpoint is None:
        return create_run(config, estimate=estimate)
    manifest = checkpoints.verify_checkpoint(from_checkpoint)
    changes.require_same_state(config, manifest)
    if manifest.step >= config.train.max_train_steps:
        raise ConfigError(
            f"train.max_train_steps is {config.train.max_train_steps}, the checkpoint is of step {manifest.step}",
            "steps are counted on from the checkpoint; set more of them",
        )
    return create_run(config, lambda run: checkpoints.adopt(run, from_checkpoint), estimate)
