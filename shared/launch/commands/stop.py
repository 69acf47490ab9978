"""`run.py stop`: a run saves and ends."""

from __future__ import annotations

from typing import Annotated

import typer

from shared.errors import exit_code_of
from shared.launch import shutdown
from shared.launch.attended.say import say
from shared.launch.commands.options import RunPath
from shared.run_folder.run_dir import open_run

WAIT_SECONDS = 120.0


def stop(
    run: RunPath,
    now: Annotated[
        bool, typer.Option("--now", help="Leave snapshots that are not evaluated yet: the same train command does it.")
    ] = False,
) -> None:
    """Ask a run to finish its step, save, and stop; waits until its `run.py` has ended and it can be trained again."""
    raise typer.Exit(exit_code_of(lambda: shutdown.stop(open_run(run), say, WAIT_SECONDS, now=now)))
