"""`run.py check`: whether a run folder is whole, and moving away what is damaged."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

import tasks
from shared.errors import exit_code_of
from shared.launch import integrity as invariants
from shared.launch import power, quarantine
from shared.launch.attended.say import say
from shared.launch.attended.verdict_note import verdict_note
from shared.launch.commands.options import RunPath
from shared.launch.left import left
from shared.run_folder.phrase import in_unit
from shared.run_folder.run_dir import RunDir, open_run


def check(
    run: RunPath,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Move what is damaged into quarantine/ of the run folder first.")
    ] = False,
) -> None:
    """Is this run folder whole? Lists every broken invariant; exit code 1 if there is one.

    What is not on this machine, such as the data set or the base model, is only noted. Another one in its place is a
    broken invariant. It is also noted where best.json is missing, or names another step than `verdict` does.

    With --repair, damaged results are evaluated again later, and training resumes from the checkpoint before. Nothing
    is deleted, and nothing is moved while a program is at work in the run.
    """

    def body() -> int:
        opened = open_run(run)
        moved = quarantine.repair(opened) if repair else []
        unit = opened.read_record().unit
        found = invariants.check(opened, tasks.find(opened.read_config().run.task))
        problems = [replace(problem, text=in_unit(problem.text, unit)) for problem in found]
        told: dict[str, Any] = {
            "run": str(opened.path),
            "whole": not problems,
            "problems": [asdict(problem) for problem in problems],
            "notes": _notes(opened),
            **({"moved": [asdict(one) for one in moved]} if repair else {}),
        }
        if as_json:
            typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
            return int(bool(problems))
        for line in (*moved, *(problems or [f"{run} is whole"]), *(f"note: {text}" for text in told["notes"])):
            say(str(line))
        return int(bool(problems))

    raise typer.Exit(exit_code_of(body))


def _notes(run: RunDir) -> list[str]:
    """What is worth knowing of a folder, whole or not."""
    config = run.read_config()
    shown, rest = power.of_run(run, config), left(run)
    return [
        *invariants.notes(run, tasks.find(config.run.task)),
        *([f"not evaluated: {rest}; `python run.py evaluate {run.path}` does it"] if rest else []),
        *verdict_note(run),
        shown.caution() or shown.sentence(),
    ]
