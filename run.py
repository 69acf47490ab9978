"""Darkroom's command.

Each of its commands is a file, read when it is called: in `tasks.commands` if it asks a task, otherwise in
`shared.launch.commands`. None imports torch: trainer, evaluator and dashboard are programs of their own, started with
`python -m`.
"""

from __future__ import annotations

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from shared.errors import ConfigError
from shared.errors import report as report_error
from shared.files import paths
from shared.launch.commands.later import Later


class _Commands(TyperGroup):
    """The commands; in their arguments `~` is the home folder, also where the shell has left it."""

    def __init__(self, **settings: Any) -> None:
        commands = {name: Later(package, name, wanted) for name, (package, wanted) in COMMANDS.items()}
        super().__init__(**{**settings, "commands": commands})

    def main(self, args: Sequence[str] | None = None, *others: Any, **settings: Any) -> Any:
        words = sys.argv[1:] if args is None else args
        if faults := list(_empty(words)):
            hint = "give a value, or leave it out; a shell puts nothing in the place of a variable that is not set"
            raise SystemExit(report_error(ConfigError("; ".join(faults), hint)))
        return super().main([paths.expand_argument(word) for word in words], *others, **settings)


def _empty(words: Sequence[str]) -> Iterator[str]:
    """What says nothing, as a person would find it; as a path it would mean the folder where the shell is."""
    for before, word in zip(("", *words), words, strict=False):
        if not word.strip():
            yield f"the argument after {before} is empty" if before else "the first argument is empty"
        elif word.startswith("--") and word.endswith("="):
            yield f"{word[:-1]} is empty"


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

PASSES_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Of commands that give options they do not know to the program that does the work."""
OF_TASKS, OF_ALL = "tasks.commands", "shared.launch.commands"
COMMANDS: dict[str, tuple[str, dict[str, Any]]] = {
    "demo": (OF_TASKS, {}),
    "init": (OF_TASKS, {}),
    "train": (OF_TASKS, {}),
    "sweep": (OF_TASKS, {}),
    "queue": (OF_TASKS, {}),
    "classify": (OF_TASKS, {**PASSES_ON, "help_option_names": []}),
    "dashboard": (OF_ALL, {}),
    "evaluate": (OF_TASKS, {}),
    "caption": (OF_ALL, PASSES_ON),
    "score": (OF_TASKS, PASSES_ON),
    "export": (OF_ALL, PASSES_ON),
    "publish": (OF_ALL, PASSES_ON),
    "report": (OF_ALL, {}),
    "verdict": (OF_ALL, {}),
    "track": (OF_ALL, {}),
    "archive": (OF_ALL, {}),
    "copy": (OF_ALL, {}),
    "stop": (OF_ALL, {}),
    "check": (OF_TASKS, {}),
    "doctor": (OF_TASKS, {}),
}
"""Where each is, in the order of the help text."""


@app.callback()
def darkroom() -> None:
    """Train a LoRA, evaluate every snapshot while it trains, see both in a browser."""


if __name__ == "__main__":
    app()
