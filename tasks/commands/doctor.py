"""`run.py doctor`: this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import tasks
from shared.errors import exit_code_of
from shared.machine import doctor as examination


def doctor(
    runs: Annotated[Path, typer.Argument(help="Folder where runs are to be written.")] = Path("runs"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port the dashboard would use.")] = 8501,
) -> None:
    """Look at this machine: hardware, versions, disk, file events, port; exit code 1 if something stands in the way."""

    def body() -> int:
        table = Table(show_header=False, box=None)
        of_tasks = [finding for name in tasks.TASKS for finding in tasks.find(name).doctor_checks()]
        findings = examination.examine(runs, "127.0.0.1", port, of_tasks)
        marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "problem": "[red]problem[/]"}
        for finding in findings:
            table.add_row(marks[finding.verdict], finding.subject, finding.text)
        Console(highlight=False).print(table)
        return int(any(finding.verdict == "problem" for finding in findings))

    raise typer.Exit(exit_code_of(body))
