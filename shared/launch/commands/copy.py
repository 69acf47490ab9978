"""`run.py copy`: a run folder on another disk."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from shared.errors import ConfigError, exit_code_of, writing
from shared.followers import copies, objects
from shared.launch import end_signals
from shared.launch.attended.say import say


def end_by_signal(copying: copies.Keeping) -> None:
    """Ctrl-C and SIGTERM: copy what is there, then end."""

    def end(_number: int, _frame: FrameType | None) -> None:
        copying.finish()

    for number in end_signals.ending():
        signal.signal(number, end)


def copy(
    run: Annotated[
        str, typer.Argument(help="A run folder, such as runs/demo, or the address of a copy in object storage.")
    ],
    to: Annotated[
        str,
        typer.Argument(
            help="Folder of the copy: new, empty, or a copy of this run. Or an address of object storage, such as "
            "s3://bucket/run."
        ),
    ],
    follow: Annotated[
        bool, typer.Option("--follow/--once", help="Keep it up with the run until the run is over.")
    ] = False,
) -> None:
    """Copy a run folder to another disk or to object storage, and keep the copy up with it; copied back, the run is
    resumed.

    What is there already is not copied again. Every file is compared with its digest on the way, there and back.

    Exit codes: 0 everything is copied, 1 not everything, 2 wrong folder or address.
    """
    raise typer.Exit(
        exit_code_of(lambda: int(not (_bring(run, to, follow) if objects.is_address(run) else _copy(run, to, follow))))
    )


def _bring(address: str, to: str, follow: bool) -> bool:
    if follow or objects.is_address(to):
        raise ConfigError(
            f"{address} is brought once, into a folder of this machine", "give a folder, and leave out --follow"
        )
    with writing("TO", Path(to)):
        return objects.bring(address, Path(to), say)


def _copy(run: str, to: str, follow: bool) -> bool:
    if objects.is_address(to):
        return (
            objects.follow(Path(run), to, say, on_begin=end_by_signal) if follow else objects.copy(Path(run), to, say)
        )
    if follow:
        return copies.follow(Path(run), Path(to), say, on_begin=end_by_signal)
    with writing("TO", Path(to)):
        return copies.copy(Path(run), Path(to), say)
