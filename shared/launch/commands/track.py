"""`run.py track`: a run, live or long finished, given to trackers; `shared.followers` does it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer

from shared.errors import ConfigError, exit_code_of
from shared.followers import trackers
from shared.launch import end_signals
from shared.launch.attended.say import say
from shared.launch.commands.options import RunPath
from shared.launch.supervisor import child_environment
from shared.run_folder.heartbeat import read_status
from shared.run_folder.run_dir import RunDir, open_run


def track(
    run: RunPath,
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="NAME", help="tensorboard, mlflow, wandb, … Repeatable.")
    ] = None,
    skip_model_upload: Annotated[
        bool, typer.Option("--skip-model-upload", help="Numbers, pictures and verdict, but no snapshot.")
    ] = False,
) -> None:
    """Give a run to trackers, while it goes on or afterwards; what they have already is not repeated.

    Exit codes: 0 everything is delivered, 1 not everything, 2 wrong folder or tracker.
    """

    def body() -> int:
        return deliver(open_run(run), to or [], skip_model_upload=skip_model_upload)

    raise typer.Exit(exit_code_of(body))


def deliver(run: RunDir, names: Sequence[str], *, skip_model_upload: bool = False) -> int:
    """Until the run is over and everything is delivered; a signal ends it after what is on disk. The exit code: 0, or
    that of the first tracker that did not get everything.

    Raises:
        ConfigError: no tracker is named, or one cannot be.
    """
    if not names:
        raise ConfigError("no tracker is named", f"give --to NAME, which is one of {', '.join(trackers.names())}")
    trackers.require(names, "--to")
    options = ["--skip-model-upload"] if skip_model_upload else []
    members: dict[str, subprocess.Popen[bytes]] = {}

    def end(_number: int, _frame: FrameType | None) -> None:
        for process in members.values():
            if process.poll() is None:
                end_signals.send(process, signal.SIGTERM)

    for number in end_signals.ending():
        signal.signal(number, end)
    for name in dict.fromkeys(names):
        command = trackers.command(name, run.path, name, *options)
        apart = end_signals.apart(in_terminal=True)
        members[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=child_environment(run), **apart)
    codes = {name: process.wait() for name, process in members.items()}
    for name, code in codes.items():
        status = read_status(run, "tracker", name)
        say(f"{name}: {'everything is delivered' if code == 0 else f'ended with code {code}'}")
        for notice in status.notices if status and code else ():
            say(f"  {notice}")
    return next((code if code > 0 else 1 for code in codes.values() if code), 0)
