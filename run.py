"""Darkroom's command: train a LoRA, evaluate every snapshot while it trains, see both in a browser.

A command is a file: in `tasks.commands` if it asks a task, otherwise in `shared.launch.commands`. None imports torch:
trainer, evaluator and dashboard are programs of their own, started with `python -m`.
"""

from __future__ import annotations

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from shared.errors import ConfigError
from shared.errors import report as report_error
from shared.files import paths
from shared.launch.commands.archive import archive
from shared.launch.commands.caption import caption
from shared.launch.commands.copy import copy
from shared.launch.commands.dashboard import dashboard
from shared.launch.commands.export import export
from shared.launch.commands.publish import publish
from shared.launch.commands.report import report
from shared.launch.commands.stop import stop
from shared.launch.commands.track import track
from shared.launch.commands.verdict import verdict
from tasks.commands.check import check
from tasks.commands.classify import classify
from tasks.commands.demo import demo
from tasks.commands.doctor import doctor
from tasks.commands.evaluate import evaluate
from tasks.commands.init import init
from tasks.commands.queue import queue
from tasks.commands.score import score
from tasks.commands.sweep import sweep
from tasks.commands.train import train


class _Commands(TyperGroup):
    """The commands; in their arguments `~` is the home folder, also where the shell has left it."""

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
    help=(__doc__ or "").partition("\n")[0],
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

PASSES_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Of commands that give options they do not know to the program that does the work."""
COMMANDS: dict[Callable[..., None], dict[str, Any]] = {
    demo: {},
    init: {},
    train: {},
    sweep: {},
    classify: {**PASSES_ON, "help_option_names": []},
    dashboard: {},
    evaluate: {},
    caption: PASSES_ON,
    score: PASSES_ON,
    export: PASSES_ON,
    publish: PASSES_ON,
    report: {},
    verdict: {},
    track: {},
    archive: {},
    copy: {},
    stop: {},
    check: {},
    doctor: {},
}
"""In the order of the help text."""

for command, settings in COMMANDS.items():
    app.command(context_settings=settings)(command)
app.add_typer(queue, name="queue")


if __name__ == "__main__":
    app()
