"""`run.py train`: a run from its config to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import tasks
from shared.cluster import address
from shared.config.loading import load_config
from shared.errors import exit_code_of
from shared.launch.attended import trained
from shared.launch.attended.say import say
from shared.launch.commands.options import AllowChange, New, On, Overrides
from shared.launch.resume import Resume


def train(
    config: Annotated[Path, typer.Argument(help="A TOML file; configs/ holds examples.")],
    overrides: Overrides = None,
    new: New = False,
    allow_change: AllowChange = None,
    auto_resume: Annotated[bool, typer.Option(help="Resume an existing run of this name.")] = True,
    from_checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint folder to resume from; with --new, of any run.")
    ] = None,
    evaluator: Annotated[bool, typer.Option(help="Evaluate every snapshot while training.")] = True,
    dashboard: Annotated[bool, typer.Option(help="Serve the dashboard.")] = True,
    create_only: Annotated[
        bool, typer.Option("--create-only", help="Make the run folder and start nothing: for launchers of your own.")
    ] = False,
    on: On = "",
) -> None:
    """Train, evaluate and show; the same command again resumes.

    With --on, the trainer's processes, as many as train.num_processes says, are on the machines of a cluster of Ray;
    evaluator and dashboard stay here (`run.py evaluate RUN --follow --on …` evaluates there, too).

    Exit codes: 0 trained, or saved and stopped as asked, 2 wrong config, data set or run folder, 3 the model or the
    device cannot be used, 4 training cannot continue, 1 anything else. Where training succeeds and evaluation does not,
    the evaluator's code.
    """
    resume = Resume(new, auto_resume, tuple(allow_change or ()), from_checkpoint)

    def body() -> int:
        if on:
            address.parse(on)  # refuses what is none
        settings = load_config(config, overrides, tasks.settings)
        task = tasks.find(settings.run.task)
        if create_only:
            say(f"run folder: {trained.open_run_folder(settings, task, resume, with_evaluator=evaluator).path}")
            return 0
        return trained.train(settings, task, resume, with_evaluator=evaluator, with_dashboard=dashboard, on=on)

    raise typer.Exit(exit_code_of(body))
