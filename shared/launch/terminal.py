"""What a person at the terminal sees of a run: live lines while it goes, a summary when it has ended."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from shared.command_name import as_called
from shared.errors import RunFolderError
from shared.launch import end_signals
from shared.launch.left import left, named
from shared.run_folder.averages import label
from shared.run_folder.file_to_ship import file_to_ship, why_not_shippable
from shared.run_folder.heartbeat import is_alive, left_behind, read_status
from shared.run_folder.metric_descriptions import Column, MetricDescriptions
from shared.run_folder.pending import Work, at_other_strengths, unconfirmed, unevaluated, without_result
from shared.run_folder.phrase import Unit
from shared.run_folder.records.best import Best, Interval
from shared.run_folder.records.process_status import ProcessStatus, Role
from shared.run_folder.run_dir import ResultKind, RunDir, steps_in, strength_kind, strength_of, strengths_in
from shared.run_folder.sharing.active_evaluators import read_active_evaluators
from shared.run_folder.tables import read_rows

LINES_EVERY_STEPS = 20
UNKNOWN = Column(name="unknown", meaning="", direction="none", role="listed")
"""Stands in for a column that metrics.json does not describe."""


class Terminal:
    """Shows one run: a live panel on a terminal, a line now and then elsewhere."""

    def __init__(self, run: RunDir, said: Iterable[str] = ()) -> None:
        """said: sentences that were printed before."""
        self.console = Console(highlight=False)
        self._run = run
        self._maker: Role = "importer" if run.read_record().imported else "trainer"
        self._evaluated = {(row["step"], row["status"]) for row in self._rows()}
        self._at_the_end = {*_at_the_end(run)}
        self._last_line = -1
        self._before = left_behind(run)
        before = self._trainer()
        self._printed = (before.started, len(before.notices)) if before else ("", 0)
        self._lines = set(said)
        self._live = Live(console=self.console, refresh_per_second=4) if self.console.is_terminal else None

    def __enter__(self) -> Terminal:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        with _until_closed():
            if self._live:
                self._live.update(Text(""))
                self._live.stop()

    def say(self, text: str) -> None:
        """Print an event above the live panel."""
        self._lines.add(text)
        with _until_closed():
            self.console.print(f"• {escape(as_called(text))}", soft_wrap=not self.console.is_terminal)

    def render(self) -> None:
        """Print new results; bring the live panel, or the line of progress, up to date."""
        with _until_closed():
            self._render()

    def _render(self) -> None:
        for row in self._rows():
            if (evaluated := (row["step"], row["status"])) not in self._evaluated:
                self._evaluated.add(evaluated)
                self.say(describe_result(row, self._run.read_metric_descriptions(), self._unit))
        for work in _at_the_end(self._run):
            if work not in self._at_the_end:
                self._at_the_end.add(work)
                if not _left_out(self._run, work):
                    self.say(self._drawn_at_the_end(work))
        trainer = self._trainer()
        if trainer:
            self._tell(trainer)
        if self._live:
            self._live.update(self._panel(trainer))
        elif (
            is_alive(trainer)
            and trainer
            and trainer.total
            and trainer.step // LINES_EVERY_STEPS > self._last_line // LINES_EVERY_STEPS
        ):
            self._last_line = trainer.step
            self.say(f"step {trainer.step}/{trainer.total}  {trainer.message}")

    def _rows(self) -> list[dict[str, str]]:
        """Of snapshots, then of averages of them."""
        return [*read_rows(self._run.metrics_csv), *read_rows(self._run.averages_csv)]

    def _drawn_at_the_end(self, work: Work) -> str:
        name = _named(work.step, self._run.read_metric_descriptions(), self._unit)
        strength = strength_of(work.kind)
        waiting = len(at_other_strengths(self._run) if strength else unconfirmed(self._run))
        rest = f", {waiting} more waiting" if waiting else ""
        return f"drawn at strength {strength:g}: {name}{rest}" if strength else f"evaluated again: {name}{rest}"

    @property
    def _unit(self) -> Unit:
        """Another trainer's files tell it when the first of them is taken."""
        return self._run.read_record().unit

    def _trainer(self) -> ProcessStatus | None:
        """What the program that makes this session's snapshots last said."""
        status = read_status(self._run, self._maker)
        return None if status in self._before else status

    def _tell(self, trainer: ProcessStatus) -> None:
        """Print each notice of this session of the trainer once, unless it was said before the trainer started."""
        if trainer.forecast and trainer.forecast not in self._lines:
            self.say(trainer.forecast)
        session, num_printed = self._printed
        for notice in trainer.notices[num_printed if session == trainer.started else 0 :]:
            if notice not in self._lines:
                self.say(notice)
        self._printed = (trainer.started, len(trainer.notices))

    def _panel(self, trainer: ProcessStatus | None) -> Group:
        statuses, _ = read_active_evaluators(self._run)
        evaluators = {slot: status for slot, status in statuses.items() if status not in self._before}
        waiting = named(without_result(self._run))
        step, total = (trainer.step, trainer.total) if trainer else (0, 0)
        bar = Table.grid(padding=(0, 1))
        done = [ProgressBar(total=max(total, 1), completed=step, width=40)] if self._maker == "trainer" else []
        bar.add_row(self._maker, *done, f"{step}/{total}" if total else "", _words(trainer))
        lines = Table.grid(padding=(0, 1))
        for slot, status in evaluators.items() if evaluators else ((1, None),):
            lines.add_row("evaluator" if len(evaluators) < 2 else f"evaluator {slot}", _words(status))
        lines.add_row("", f"to be evaluated: {waiting or 'nothing'}")
        return Group(bar, lines)


@contextmanager
def _until_closed() -> Generator[None]:
    """A terminal that was closed, or a program that no longer reads, ends no run: it goes on without being seen."""
    try:
        yield
    except OSError:
        if not end_signals.leave_terminal():
            raise


def describe_result(row: dict[str, str], descriptions: MetricDescriptions, unit: Unit = "step") -> str:
    """One line about a row of metrics.csv, differences against the base model in brackets. unit: of the run."""
    name = _named(int(row["step"]), descriptions, unit)
    if row["status"] == "failed":
        return f"{name} could not be evaluated: {row['reason']}"
    if row["status"] == "skipped":
        return f"{name} was skipped: {row['reason']}"
    values = [_value(column, row) for column in descriptions.compared if row.get(column.name)]
    return f"evaluated {name}: {', '.join(values)}  ({float(row['evaluation_seconds']):.1f} s)"


def summarise(run: RunDir, console: Console) -> None:
    """The end of a run in one table: which snapshot to ship, its numbers against the base model, where its file is.

    Before it, what could not be evaluated.
    """
    unit = run.read_record().unit
    rows = read_rows(run.metrics_csv)
    for row in rows:
        if row["status"] == "failed":
            console.print(escape(describe_result(row, run.read_metric_descriptions(), unit)), soft_wrap=True)
    best = run.read_best()
    if best is None:
        if unevaluated(run):
            text = f"No snapshot is evaluated yet; `python run.py evaluate {run.path}` does it."
            console.print(as_called(text), soft_wrap=True)
        elif any(row["status"] == "ok" and int(row["step"]) for row in rows):
            text = f"There is no verdict: `python run.py verdict {run.path}` says why."
            console.print(as_called(text), soft_wrap=True)
        return
    rest = left(run)
    so_far = " so far" if rest else ""
    step, base = f"{unit} {label(best.step)}", _base(run.read_metric_descriptions())
    why_not = why_not_shippable(run, best.step)
    first = f"caution: {step} cannot be shipped or exported: {why_not}" if why_not else ""
    last = "" if why_not else f"file: {file_to_ship(run, best.step)}"
    console.print(escape(first), soft_wrap=True, end="\n" if first else "")
    named = "Best snapshot" if best.is_chosen else "Last snapshot that may be shipped"
    another = ", whose file is not there as it was evaluated" if why_not else ""
    table = Table(title=f"{named}{so_far}: {step}{another}{_reservation(best, base, unit)}", title_justify="left")
    for heading in ("", base, step, "difference", "95 % interval"):
        table.add_column(heading, justify="left" if not heading else "right")
    columns = {column.name: column for column in run.read_metric_descriptions().columns}
    for metric, difference in best.deltas.items():
        column, value = columns.get(metric) or UNKNOWN, best.metrics.get(metric)
        numbers = ("", "") if value is None else (column.spelled(value - difference.delta), column.spelled(value))
        table.add_row(metric, *numbers, column.spelled(difference.delta, is_change=True), _range(difference, column))
    console.print(table)
    if rest:
        console.print(f"not evaluated: {rest}")
    console.print(escape(best.reason))
    for caution in best.cautions:
        console.print(f"caution: {escape(caution)}")
    console.print(escape(last), soft_wrap=True, end="\n" if last else "")


def _reservation(best: Best, base: str, unit: Unit) -> str:
    """What must not be overlooked beside the choice."""
    if best.flagged:
        return ", but no snapshot can be recommended"
    if best.better_than_base or not best.ranked:
        return ""
    others = [label(step) for step in sorted(best.surer)]
    if not others:
        return f", not shown to be better than the {base}"
    are = f"{unit} {others[0]} is" if len(others) == 1 else f"{unit}s {', '.join(others)} are"
    return f", not shown to be better than the {base}; {are}"


def _at_the_end(run: RunDir) -> Iterator[Work]:
    """What has been evaluated again, and drawn at other strengths."""
    kinds: list[ResultKind] = ["confirmations", *map(strength_kind, strengths_in(run))]
    for kind in kinds:
        yield from (Work(step, kind) for step in sorted(steps_in(run.path / kind)))


def _left_out(run: RunDir, work: Work) -> bool:
    """A snapshot that has no strength is not drawn at others."""
    try:
        result = run.read_result(work.step, work.kind)
    except RunFolderError:  # the evaluator says so
        return False
    return result is not None and result.status == "skipped"


def _named(step: int, descriptions: MetricDescriptions, unit: Unit) -> str:
    return f"{unit} {label(step)}" if step else _base(descriptions)


def _base(descriptions: MetricDescriptions) -> str:
    """What step 0 is called, without an article."""
    return descriptions.words.base.removeprefix("the ")


def _words(status: ProcessStatus | None) -> str:
    if status is None:
        return "starting"
    text = f"{status.state} {status.message}".strip()
    return (
        text
        if is_alive(status) or status.state in ("finished", "stopped", "failed")
        else f"exited unexpectedly (was {text})"
    )


def _value(column: Column, row: dict[str, str]) -> str:
    name = column.name.removesuffix("_loss").replace("_", " ")
    delta = row.get(f"{column.name}_delta")
    higher = ", higher is better" if column.direction == "higher" else ""  # the others are losses
    change = f" ({column.spelled(float(delta), is_change=True)}{higher})" if delta and row["step"] != "0" else ""
    return f"{name} {column.spelled(float(row[column.name]))}{change}"


def _range(interval: Interval, column: Column) -> str:
    if not column.is_told(interval.low, interval.high):
        return "unknown with so few prompts"
    return " … ".join(column.spelled(end, is_change=True) for end in (interval.low, interval.high))
