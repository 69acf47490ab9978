"""The run folder a config names: made, or taken up again where it was."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.config import epochs
from shared.config.one_call import FOR_ONE_CALL
from shared.config.resume_rule import Rule
from shared.config.schema import Config, rules_of
from shared.data import dataset
from shared.errors import ConfigError, ModelError, RunFolderError
from shared.files.digests import Digests
from shared.launch import relocation, setting_changes
from shared.launch.create import create_run
from shared.launch.task import Task
from shared.run_folder import checkpoints
from shared.run_folder.heartbeat import vacant
from shared.run_folder.records.run_record import Change
from shared.run_folder.run_dir import RunDir, free_name, open_run, steps_in
from shared.run_folder.tables import read_rows


@dataclass(frozen=True)
class Resume:
    """How a run folder that exists already is meant to be taken up."""

    new: bool = False
    auto: bool = True
    allow_change: tuple[str, ...] = ()
    from_checkpoint: Path | None = None


def open_or_create(
    config: Config,
    task: Task,
    resume: Resume,
    say: Callable[[str], object],
    estimate: Callable[[], dict[str, Any] | None],
) -> RunDir:
    """The run folder, its settings those of the config.

    say: told of every setting that is changed, and what was noticed about the data set of a new run.
    estimate: the memory estimate, kept in the record of a new run.

    Raises:
        ConfigError, RunFolderError, DataError: it can neither be made nor taken up like this; nothing has changed.
    """
    assert config.run.name
    path = config.run.output_dir / config.run.name
    if resume.new:
        name = free_name(config.run.output_dir, config.run.name)
        config = config.model_copy(update={"run": config.run.model_copy(update={"name": name})})
    if resume.new or not path.exists():
        return _create(config, task, resume.from_checkpoint, say, estimate)
    run = open_run(path)
    config = _with_steps(run, setting_changes.with_former_defaults(run.read_config(), config))
    if _is_barren(run) and setting_changes.differences(run.read_config(), config):
        return _begin_anew(run, config, task, resume.from_checkpoint, say, estimate)
    return _take_up(run, config, task, resume, say)


def require_trainable(config: Config) -> None:
    """Whether the run of this name, if there is one, is trained here.

    Raises:
        RunFolderError: another program makes its snapshots.
    """
    assert config.run.name
    run = RunDir(config.run.output_dir / config.run.name)
    imported = run.read_record().imported if run.record.is_file() else None
    if imported:
        raise RunFolderError(
            f"{run.path} evaluates the LoRAs in {imported.folder}, which another program trains",
            f"run `python run.py evaluate {run.path}` to evaluate them, or set another run.name to train",
        )


def require_continuable(run: RunDir, config: Config, task: Task, allow_change: Collection[str]) -> None:
    """Whether a run can go on with these settings, as far as it can be told without a change and without its model.

    Raises:
        RunFolderError, DataError, ModelError: it cannot.
    """
    config = _with_steps(run, setting_changes.with_former_defaults(run.read_config(), config))
    if not _is_barren(run):
        relocation.require_present(run, task.missing_paths(run, config), to_train=True)
        setting_changes.require_allowed(run, config, allow_change, _moved(run, config, task))


def _with_steps(run: RunDir, config: Config) -> Config:
    """With the steps that `train.max_train_epochs` comes to on the run's data set."""
    length = run.read_record().dataset.pass_length
    if config.train.max_train_epochs and not length:
        recorded = run.read_config()
        places = {"path": config.data.path, "regularization_path": config.data.regularization_path}
        before = recorded.model_copy(update={"data": recorded.data.model_copy(update=places)})
        digest, held_out = Digests(dataset.digests_path(before)), run.read_record().dataset.kept_away
        pairs = relocation.scan_again(run, before, digest)
        training = dataset.training_pairs(pairs, held_out, before.data.train_size, before.train.seed, digest)
        length = epochs.pass_length(training, dataset.regularization_pairs(pairs, held_out, digest))
    return epochs.resolved(config, length)


def adopt_places(run: RunDir, config: Config, task: Task, say: Callable[[str], object]) -> None:
    """Note where the run's data set, base model and encoders lie by now, for who only evaluates it, who needs the
    model.

    Raises:
        ConfigError: another setting differs as well.
        DataError, ModelError, RunFolderError: what lies there is not the same, the base model is not here or has been
            replaced by another, or a program is at work in the run.
    """
    moved = _moved(run, config, task)
    if others := setting_changes.differences(run.read_config(), config).keys() - moved:
        rules, names = rules_of(config), ", ".join(sorted(others))
        judged = [key for key in others if key.startswith("evaluation.") and rules[key] is Rule.RESULTS]
        apart = (
            f"evaluate the snapshots as a run of their own, which has its own results: `python run.py evaluate "
            f"{run.snapshots} --base MODEL --references FOLDER` with these settings; "
            if judged
            else ""
        )
        raise ConfigError(
            f"{names}: only a place can be given here, of the same data set, base model or encoder, or for this call "
            + ", ".join(FOR_ONE_CALL),
            f"{apart}change other settings by `python run.py train CONFIG --allow-change KEY`"
            + (", these ones only while nothing is evaluated" if judged else ""),
        )
    _require_models(run, config, task, say, to_train=False)
    _tell(setting_changes.apply(run, config, (), moved=moved), moved, say)


def _moved(run: RunDir, config: Config, task: Task) -> set[str]:
    """The settings that differ from the run's only in where the same thing lies. A cache may lie anywhere."""
    changed = setting_changes.differences(run.read_config(), config).keys()
    return task.moved_settings(run, config, changed) | (changed & {"data.cache_dir"})


def _moved_since(checkpoint: Path, config: Config, task: Task) -> set[str]:
    """Likewise, of the settings that a checkpoint of any run was made with; nothing where it left its run's folder."""
    try:
        run = open_run(checkpoint.resolve().parents[1])
    except RunFolderError:
        return set[str]()
    changed = setting_changes.differences(run.read_config(), config).keys()
    return task.moved_settings(run, config, changed & setting_changes.state_settings(config).keys())


def _require_models(run: RunDir, config: Config, task: Task, say: Callable[[str], object], *, to_train: bool) -> None:
    """Before any program is started: what is needed is here, and the models are what they were; encoders may lack."""
    absent = task.missing_paths(run, config)
    relocation.require_present(run, absent, to_train=to_train)
    digest = Digests(dataset.digests_path(config))
    for sentence in task.changed_content(run, config, digest):
        raise ModelError(sentence, "restore it, or start a new run with --new")
    for key, sentence in absent.items():
        if key.startswith("evaluation."):
            without = "no snapshot can be evaluated" if key == "evaluation.model" else "its metrics stay blank"
            say(f"{sentence}: {without}; {relocation.new_place(run, key)}")
    relocation.remember(digest)


def _is_barren(run: RunDir) -> bool:
    """Whether it never made a step (its optimizer was misspelt, say)."""
    return not (read_rows(run.train_csv) or checkpoints.own_steps(run) or steps_in(run.snapshots))


def _begin_anew(
    run: RunDir,
    config: Config,
    task: Task,
    from_checkpoint: Path | None,
    say: Callable[[str], object],
    estimate: Callable[[], dict[str, Any] | None],
) -> RunDir:
    """Make the run again with other settings; the old folder comes back where that fails."""
    aside = run.path.with_name(f".{run.path.name}.{uuid.uuid4().hex[:8]}")
    with vacant(run, "supervisor"), vacant(run, "trainer"), vacant(run, "evaluator"):
        run.path.rename(aside)
    try:
        made = _create(config, task, from_checkpoint, say, estimate)
    except BaseException:
        aside.rename(run.path)
        raise
    shutil.rmtree(aside)
    return made


def _take_up(run: RunDir, config: Config, task: Task, resume: Resume, say: Callable[[str], object]) -> RunDir:
    step = None
    if resume.from_checkpoint:
        step = checkpoints.verify_checkpoint(resume.from_checkpoint).step
        setting_changes.require_nothing_past(run, step)
    elif not resume.auto and (saved := checkpoints.own_steps(run)):
        raise RunFolderError(
            f"{run.path} holds a checkpoint of step {saved[0]}, and --no-auto-resume was given",
            "leave it out to resume from there, or start beside it with --new",
        )
    _require_models(run, config, task, say, to_train=True)
    task.require_suitable(config)
    moved = _moved(run, config, task)
    if not moved & set(relocation.DATA_KEYS) and not _is_complete(run, config, step):
        _require_same_data(run, config, task)
    _tell(setting_changes.apply(run, config, resume.allow_change, step, moved), moved, say)
    _pin(run, task)
    if resume.from_checkpoint:
        checkpoints.go_back(run, resume.from_checkpoint)
    return run


def _pin(run: RunDir, task: Task) -> None:
    """Record what was out of reach when the run was made, such as a hub id's commit; it never changes afterwards."""
    record, identity = run.read_record(), dict(task.identify(run))
    if identity != record.base_model:
        record.model_copy(update={"base_model": identity}).write(run.record)


def _tell(made: Sequence[Change], moved: Collection[str], say: Callable[[str], object]) -> None:
    for change, text in zip(made, setting_changes.describe(made), strict=True):
        say(f"moved: {text}; what lies there is the same" if change.key in moved else f"changed: {text}")


def _is_complete(run: RunDir, config: Config, step: int | None) -> bool:
    """Whether its newest checkpoint, or the one of `step`, leaves nothing to train."""
    steps = [step] if step is not None else checkpoints.own_steps(run)[:1]
    return any(saved >= config.train.max_train_steps for saved in steps)


def _require_same_data(run: RunDir, config: Config, task: Task) -> None:
    """Before a change is written down or a program started: what the trainer would find only afterwards."""
    before = run.read_config()
    cached = before.data.model_copy(update={"cache_dir": config.data.cache_dir})
    task.require_same_data(run, before.model_copy(update={"data": cached}))


def _create(
    config: Config,
    task: Task,
    from_checkpoint: Path | None,
    say: Callable[[str], object],
    estimate: Callable[[], dict[str, Any] | None],
) -> RunDir:
    """A new run, from nothing or from the state of any run's checkpoint."""
    if from_checkpoint is None:
        return create_run(config, task, estimate=estimate, say=say)
    if config.lora.init_from:
        raise ConfigError(
            "lora.init_from and --from-checkpoint both say where the run begins",
            "give one of them: lora.init_from=false resumes from the checkpoint",
        )
    manifest = checkpoints.verify_checkpoint(from_checkpoint)
    setting_changes.require_same_state(config, manifest, _moved_since(from_checkpoint, config, task))
    if not config.train.max_train_epochs:
        _require_more(config, manifest.step)

    def adopt(run: RunDir) -> None:
        _require_more(run.read_config(), manifest.step)
        checkpoints.adopt(run, from_checkpoint)

    return create_run(config, task, adopt, estimate, say)


def _require_more(config: Config, step: int) -> None:
    if step >= config.train.max_train_steps:
        raise ConfigError(
            f"train.max_train_steps is {config.train.max_train_steps}, the checkpoint is of step {step}",
            "set more steps: they are counted on from the checkpoint",
        )
