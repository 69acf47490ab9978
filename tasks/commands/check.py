"""`run.py check`: whether a run folder is whole."""

from __future__ import annotations

import typer

import tasks
from shared.errors import exit_code_of
from shared.launch import integrity as invariants
from shared.launch import power
from shared.launch.attended.say import say
from shared.launch.attended.verdict_note import verdict_note
from shared.launch.commands.options import RunPath
from shared.launch.left import left
from shared.run_folder.phrase import in_unit
from shared.run_folder.run_dir import open_run


def check(run: RunPath) -> None:
    """Is this run folder whole? Lists every broken invariant; exit code 1 if there is one.

    What is not on this machine, such as the data set or the base model, is only noted. Another one in its place is a
    broken invariant. It is also noted where best.json is missing, or names another step than `verdict` does.
    """

    def body() -> int:
        opened = open_run(run)
        task = tasks.find(opened.read_config().run.task)
        shown = power.of_run(opened, opened.read_config())
        unit = opened.read_record().unit
        problems = [in_unit(problem, unit) for problem in invariants.check(opened, task)]
        rest = left(opened)
        notes = [
            *invariants.notes(opened, task),
            *([f"not evaluated: {rest}; `python run.py evaluate {opened.path}` does it"] if rest else []),
            *verdict_note(opened),
            shown.caution() or shown.sentence(),
        ]
        for line in (*(problems or [f"{run} is whole"]), *(f"note: {text}" for text in notes)):
            say(line)
        return int(bool(problems))

    raise typer.Exit(exit_code_of(body))
