"""A sweep in the terminal: its trials, then what was found, in words."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shared.command_name import as_called
from shared.run_folder.averages import label
from shared.sweeps.record import SweepRecord, TrialRecord

FILE_WIDTH = 200
"""Characters, where no terminal says how wide it is."""


def show(record: SweepRecord, console: Console) -> None:
    """Print it. Winner first, then by composite; those without one last."""
    table = Table(title=f"{record.name}: {record.state}", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for head in ("trial", *(key.partition(".")[2] for key in record.space), "seed", "state", "steps"):
        table.add_column(head, no_wrap=True)
    for head in ("best", "composite", "95 % interval"):
        table.add_column(head, justify="right", no_wrap=True)
    for trial in _ordered(record):
        table.add_row(*map(escape, _cells(trial, record)))
    wide = console if console.is_terminal else Console(file=console.file, width=FILE_WIDTH, highlight=False)
    wide.print(table)
    for text in (*map(str, record.sentences), *_importance(record), *_reasons(record)):
        console.print(as_called(text), markup=False, soft_wrap=True)


def _ordered(record: SweepRecord) -> list[TrialRecord]:
    place = {number: rank for rank, setting in enumerate(record.settings) for number in setting.trials}
    last = len(place)
    return sorted(
        record.trials,
        key=lambda one: (place.get(one.number, last), one.composite.delta if one.composite else 9e9, one.number),
    )


def _cells(trial: TrialRecord, record: SweepRecord) -> Iterator[str]:
    yield trial.run.removeprefix("trial-")
    yield from (_short(trial.values.get(key)) for key in record.space)
    yield str(trial.seed)
    yield trial.state
    yield f"{trial.step}/{trial.total}" if trial.total else ""
    yield label(trial.best_step) if trial.best_step is not None else ""
    found = trial.composite
    yield f"{found.delta:+.2f}" if found else ""
    yield f"{found.low:+.2f} to {found.high:+.2f}" if found else ""


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _importance(record: SweepRecord) -> Iterator[str]:
    if record.importance:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in record.importance.items())
        yield f"What decides whether a trial is among the best: {shares}."


def _reasons(record: SweepRecord) -> Iterator[str]:
    for trial in record.trials:
        if trial.reason:
            yield f"{trial.run}: {trial.reason}"
