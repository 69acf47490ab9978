"""`run.py score`: one folder of pictures against another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import tasks
from shared.errors import exit_code_of
from shared.launch.attended.foreground import foreground
from shared.launch.commands.options import DEFAULT_TASK, TaskName
from shared.launch.supervisor import child_environment, python_module


def score(
    context: typer.Context,
    references: Annotated[Path, typer.Argument(help="Folder of real pictures.")],
    samples: Annotated[Path, typer.Argument(help="Folder of pictures to be evaluated; pairs have the same file name.")],
    task: TaskName = DEFAULT_TASK,
) -> None:
    """Evaluate any folder of pictures against another: the evaluator's metrics, with anchors and intervals.

    Options of text-to-image: --json, --fashion-clip, --visual, --device, --legacy. Exit codes: 0; 3 where no loss could
    be computed, or the device is missing; 2 wrong folder or option.
    """

    def body() -> int:
        command = python_module(tasks.command(task, "score"), references, samples, *context.args)
        return foreground(command, child_environment(None))

    raise typer.Exit(exit_code_of(body))
