"""`run.py report`: a run as one HTML file."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from shared.errors import exit_code_of
from shared.launch.commands.options import RunPath
from shared.launch.supervisor import child_environment, python_module
from shared.run_folder.run_dir import open_run


def report(
    run: RunPath,
    output: Annotated[Path | None, typer.Option(help="File to write; <run>/report.html when absent.")] = None,
    lang: Annotated[str, typer.Option(help="en, zh-Hans or zh-Hant.")] = "en",
) -> None:
    """Write a run as one HTML file: charts and pictures inside, no server needed."""

    def body() -> int:
        target = ("--output", output.resolve()) if output else ()
        command = python_module("dashboard.report", open_run(run).path, *target, "--lang", lang)
        return subprocess.run(command, env=child_environment(None), stdin=subprocess.DEVNULL, check=False).returncode

    raise typer.Exit(exit_code_of(body))
