"""`run.py copy`: a run folder on another disk."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from shared.errors import exit_code_of, writing
from shared.followers import copies
from shared.launch import end_signals
from shared.launch.attended.say import say
from shared.launch.commands.options import RunPath


def end_by_signal(copying: copies.Copying) -> None:
    """Ctrl-C and SIGTERM: copy what is there, then end."""

    def end(_number: int, _frame: FrameType | None) -> None:
        copying.finish()

    for number in end_signals.ending():
        signal.signal(number, end)


def copy(
    run: RunPath,
    to: Annotated[Path, typer.Argument(help="Folder of the copy: new, empty, or a copy of this run.")],
    follow: Annotated[
        bool, typer.Option("--follow/--once", help="Keep it up with the run until the run is over.")
    ] = False,
) -> None:
    """Copy a run folder to another disk, and keep the copy up with it; copied back, the run is resumed.

    What is there already is not copied again. Exit codes: 0 everything is copied, 1 not everything, 2 wrong folder.
    """

    def body() -> int:
        if follow:
            return int(not copies.follow(run, to, say, on_begin=end_by_signal))
        with writing("TO", to):
            return int(not copies.copy(run, to, say))

    raise typer.Exit(exit_code_of(body))
