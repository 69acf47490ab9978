"""`run.py export`: a snapshot for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.errors import exit_code_of
from shared.launch.attended.foreground import foreground
from shared.launch.commands.options import RunPath
from shared.launch.supervisor import child_environment, python_module
from shared.run_folder.run_dir import open_run


def export(
    context: typer.Context,
    run: RunPath,
    step: Annotated[str, typer.Option(help="`best`, or the step of a snapshot.")] = "best",
    form: Annotated[str, typer.Option("--format", help="Who is to read it; the task's usual one when absent.")] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            help="File to write, which ends in .safetensors, or an existing folder; of peft: a new folder or .zip. In "
            "RUN/exports when absent."
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(help="Of the numbers: fp32, fp16 or bf16; the task's when absent.")] = "",
) -> None:
    """Write a snapshot in a format of other programs.

    Of text-to-image: --format kohya (ComfyUI and A1111; when absent), diffusers or peft; --dtype is fp16 when absent.
    """

    def body() -> int:
        opened = open_run(run)
        given = {"--format": form, "--dtype": dtype}
        options = ["--step", step, *(part for name, value in given.items() if value for part in (name, value))]
        options += context.args
        target = ["--output", output.resolve()] if output else []
        command = python_module("tasks.export", opened.path, *options, *target)
        return foreground(command, child_environment(opened))

    raise typer.Exit(exit_code_of(body))
