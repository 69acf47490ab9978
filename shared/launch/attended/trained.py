"""`run.py train`: the run folder of a config, made or resumed, and trained to its end."""

from __future__ import annotations

from rich.console import Console

from shared.config.schema import Config
from shared.followers import trackers
from shared.launch import shutdown
from shared.launch.attended.say import say
from shared.launch.attended.supervised import supervise
from shared.launch.resume import Resume, open_or_create, require_trainable
from shared.launch.task import Task
from shared.launch.terminal import summarise
from shared.run_folder.heartbeat import read_status
from shared.run_folder.pending import left_to_evaluate
from shared.run_folder.run_dir import RunDir


def train(
    config: Config,
    task: Task,
    resume: Resume,
    *,
    with_evaluator: bool = True,
    with_dashboard: bool = True,
    on: str = "",
) -> int:
    """The exit code. A run that is complete, and evaluated, is only summarised. on: the cluster; empty: none."""
    console = Console(highlight=False)
    assert config.run.name
    present = RunDir(config.run.output_dir / config.run.name)
    if present.record.is_file() and not resume.new:
        shutdown.wait_while_ending(present, say)
    run = open_run_folder(config, task, resume, with_evaluator=with_evaluator)
    config = config.model_copy(update={"train": run.read_config().train})  # train.max_train_steps may be computed
    trainer = read_status(run, "trainer")
    complete = trainer and trainer.state == "finished" and trainer.step >= config.train.max_train_steps
    if trainer and complete and not (with_evaluator and left_to_evaluate(run)):
        console.print(f"{run.path} is complete at step {trainer.step}; --new starts another run beside it.")
        summarise(run, console)
        return 0
    memory = task.estimate_memory(config, with_evaluator=with_evaluator)[1]
    sentences = (*memory, *task.describe_data(config))
    return supervise(run, config, sentences, with_evaluator=with_evaluator, with_dashboard=with_dashboard, trains_on=on)


def open_run_folder(config: Config, task: Task, resume: Resume, *, with_evaluator: bool) -> RunDir:
    """Made, or the one that is resumed."""
    trackers.require(config.run.trackers)
    if not resume.new:
        require_trainable(config)
    return open_or_create(
        config, task, resume, say, lambda: task.estimate_memory(config, with_evaluator=with_evaluator)[0]
    )
