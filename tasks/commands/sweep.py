"""`run.py sweep`: many settings tried, each as an ordinary run."""

from __future__ import annotations

import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

import tasks
from shared.cluster.address import Address, parse
from shared.errors import ConfigError, DataError, TrainingError, exit_code_of
from shared.launch import end_signals
from shared.launch.attended.say import say
from shared.launch.commands.options import On
from shared.sweeps import study, sweep_file, table
from shared.sweeps.opening import opened
from shared.sweeps.places.here import Here
from shared.sweeps.places.place import Place
from shared.sweeps.sweep_dir import SweepDir
from shared.sweeps.sweep_file import Sweep
from shared.sweeps.sweeping import MAX_FAILURES, Sweeping


def sweep(
    file: Annotated[Path, typer.Argument(metavar="SWEEP", help="A sweep file, or the folder of a sweep.")],
    on: On = "",
    status: Annotated[bool, typer.Option("--status", help="Only show what is known by now.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try the trials that have failed once more.")] = False,
) -> None:
    """Try many settings, stop what is surely worse, name the winner; the same command again goes on.

    Exit codes: 0 finished, or saved and stopped as asked, 2 wrong sweep file, config, data set or folder, 4 three
    trials in a row have failed, 1 anything else.
    """

    def body() -> int:
        if file.is_dir():
            return _show(SweepDir(file), Console(highlight=False))
        address, problems = _address(on)
        if not status and not study.is_installed():
            problems.append(f"optuna is not installed: {study.INSTALL}")
        read = sweep_file.read(file, tasks.settings, problems)
        if status:
            return _show(SweepDir(read.folder), Console(highlight=False))
        with _place(read, address) as place:
            return _sweep(read, place, retry=retry)

    raise typer.Exit(exit_code_of(body))


def _address(on: str) -> tuple[Address | None, list[str]]:
    """Of a cluster, and what is wrong with it; None: this machine, without Ray."""
    try:
        return parse(on) if on else None, []
    except ConfigError as error:
        return None, [f"{error}: {error.hint}"]


@contextmanager
def _place(read: Sweep, address: Address | None) -> Generator[Place]:
    """Where trials run."""
    if address is None:
        yield Here()
        return
    from shared.cluster.connection import connected  # noqa: PLC0415 - an install without the extra has no Ray
    from shared.sweeps.places.on_ray import OnRay  # noqa: PLC0415

    with connected(address, {}):
        yield OnRay(read.resources)


def _sweep(read: Sweep, place: Place, *, retry: bool) -> int:
    with opened(read, lambda: _held_out(read)) as folder:
        say(f"sweep folder: {folder.path}; `python run.py dashboard {folder.runs}` shows it")
        journal = study.Study(folder.journal, read)
        if retry:
            say(f"trials that have failed and are tried again: {journal.retry()}")
        sweeping = Sweeping(read, folder, journal, place)

        def stop(number: int, _frame: FrameType | None) -> None:
            sweeping.stop()
            say(f"{signal.Signals(number).name}: trials save and end; the same command goes on")

        for number in end_signals.ending():
            signal.signal(number, stop)
        found = sweeping.run()
    table.show(found, Console(highlight=False))
    if sweeping.has_given_up:
        raise TrainingError(
            f"{MAX_FAILURES} trials in a row have failed; the last one: {found.trials[-1].reason}",
            "mend what is wrong, then run the same command again: it goes on with the next trial, and with --retry it "
            "tries these once more, too",
        )
    return 0


def _held_out(read: Sweep) -> Sequence[str]:
    """The pairs to name in every trial, whatever its seed; empty where the data set itself says which are held out.

    Whoever is asked checks the data set and the base model.
    """
    config, task = read.config, tasks.find(read.config.run.task)
    found = task.plan(config, say).dataset.held_out
    named = config.model_copy(update={"data": config.data.model_copy(update={"validation_ids": found})})
    try:
        is_same = task.plan(named, lambda text: None).dataset.held_out == found
    except DataError:  # more than data.num_validation: a folder of their own
        is_same = False
    return found if is_same else ()


def _show(folder: SweepDir, console: Console) -> int:
    record = folder.read_record()
    if record is None:
        raise ConfigError(f"{folder.path} holds no sweep yet", "give a sweep file, and leave --status out")
    table.show(record, console)
    return 0
