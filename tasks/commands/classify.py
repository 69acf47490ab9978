"""`run.py classify`: a classifier, by the options of an earlier trainer."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import typer

import tasks
from shared.config.loading import load_config
from shared.errors import exit_code_of
from shared.launch.attended import trained
from shared.launch.attended.say import say
from shared.launch.resume import Resume
from shared.run_folder.run_dir import open_run

TASK = "image_classification"


def classify(context: typer.Context) -> None:
    """Train an image classifier by the options of an earlier trainer: they become a config first. See --help."""

    def body() -> int:
        program = importlib.import_module(tasks.command(TASK, "classify"))
        path, asked = program.write(context.args, say)
        os.environ.update(asked.environment)
        config = load_config(path, [], tasks.settings)
        task, resume = tasks.find(config.run.task), Resume(auto=asked.auto_resume)
        if asked.create_only:
            say(f"run folder: {trained.open_run_folder(config, task, resume, with_evaluator=True).path}")
            return 0
        code = trained.train(config, task, resume, with_dashboard=asked.dashboard)
        if code == 0 and asked.model_path:
            program.deliver(open_run(config.run.output_dir / str(config.run.name)), Path(asked.model_path), say)
        return code

    raise typer.Exit(exit_code_of(body))
