"""What deserves attention in a run, told from the files its programs write. Values in, values out; time is an argument.

Nothing here acts: the trainer skips bad steps and stops by itself, the supervisor restarts what died. `in_run` is for
who has no tables at hand; the dashboard calls the parts with those it keeps.
"""

from __future__ import annotations

import csv
import math
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.log_errors import logged_error
from shared.run_folder.records.best import Best
from shared.run_folder.records.process_status import ProcessStatus
from shared.run_folder.run_dir import RunDir
from shared.run_folder.sharing.active_evaluators import read_active_evaluators
from shared.run_folder.tables import read_rows
from shared.run_folder.times import parse_time

Level = Literal["warn", "bad"]
Kind = Literal[
    "not finite",
    "stalled",
    "out of memory",
    "failed",
    "gone",
    "unevaluated",
    "low disk",
    "failed evaluation",
    "rising",
    "overfitting",
    "notice",
    "damaged",
]
SENTENCES: dict[Kind, str] = {
    "not finite": "{count} of the last {all} steps had a NaN loss, most recently step {step}.",
    "stalled": "No step has finished for {time}; a step usually takes {usual}.",
    "out of memory": "{program} ran out of memory: {message}",
    "failed": "{program} failed: {message}",
    "gone": "{program} exited unexpectedly (pid {pid}).",
    "unevaluated": "No evaluator is running; snapshots waiting: {count}.",
    "low disk": "The disk of this run has only {size} left.",
    "failed evaluation": "Step {step} could not be evaluated: {reason}",
    "rising": "The held-out loss has only risen since step {step}: overfitting.",
    "overfitting": "Overfitting: {evidence}",
    "notice": "{message}",
    "damaged": "{problem}. To cure it, {cure}.",
}
CURE = "To cure it, {cure}."

RECENT_STEPS = 100
BAD_IN_A_ROW = 3
STALL_SECONDS, STALL_STEPS = 60.0, 20
LOW_DISK_BYTES, NO_DISK_BYTES = 10e9, 2e9
RISING_CHECKS, RISING_SHARE = 3, 1.02
TAIL_BYTES = 64 * 1024


class Seconds(float):
    """A duration, for who spells it."""

    def __str__(self) -> str:
        return f"{self:.0f} s" if self < 600 else f"{self / 60:.0f} min"


class Bytes(float):
    """A size, for who spells it."""

    def __str__(self) -> str:
        return f"{self / 1e9:.1f} GB"


@dataclass(frozen=True)
class Alert:
    """What it is about, how grave it is, the step it belongs to, and what its sentence says."""

    kind: Kind
    values: Mapping[str, object] = field(default_factory=dict[str, object])
    level: Level = "warn"
    step: int | None = None
    cure: str = ""
    """What a person can do, beginning with a verb; empty where the program does not know."""
    log: str = ""
    """The program whose log ends with it or says more; empty where none does."""

    def __str__(self) -> str:
        said = SENTENCES[self.kind].format(**{name: str(value) for name, value in self.values.items()})
        return f"{said.rstrip('.')}. {CURE.format(cure=self.cure)}" if self.cure else said


def in_run(run: RunDir, now: datetime) -> list[Alert]:
    """What should reach a person who is not looking."""
    trainer, (evaluators, evaluating) = read_status(run, "trainer"), read_active_evaluators(run)
    importer = read_status(run, "importer")
    train, validation = tail_of(run.train_csv), read_rows(run.validation_csv)
    steps, losses = _column(train, "step"), _column(train, "loss")
    usual = typical(_column(train, "step_seconds"))
    last = parse_time(train[-1]["timestamp"]).timestamp() if train else None
    return [
        *ended_badly(trainer, is_alive(trainer), run),
        *ended_badly(importer, is_alive(importer), run),
        *(alert for slot, status in evaluators.items() for alert in ended_badly(status, slot in evaluating, run, slot)),
        *stalled(last, usual, trainer, is_alive(trainer), now),
        *notices(read_status(run, "supervisor")),
        *not_finite(steps, losses),
        *low_disk(shutil.disk_usage(run.path).free),
        *overfitting(run.read_best(), _column(validation, "step"), _column(validation, "held_out_loss")),
    ]


def not_finite(steps: Sequence[float], losses: Sequence[float]) -> list[Alert]:
    """Recent steps without a finite loss; grave when they do not end."""
    bad = [not math.isfinite(loss) for loss in losses[-RECENT_STEPS:]]
    if not any(bad):
        return []
    last = int(max(step for step, is_bad in zip(steps[-len(bad) :], bad, strict=True) if is_bad))
    lasting = len(bad) >= BAD_IN_A_ROW and all(bad[-BAD_IN_A_ROW:])
    return [Alert("not finite", {"count": sum(bad), "all": len(bad), "step": last}, "bad" if lasting else "warn", last)]


def stalled(
    last: float | None, usual_seconds: float, trainer: ProcessStatus | None, alive: bool, now: datetime
) -> list[Alert]:
    """A trainer that lives and says it trains, yet finishes no step; `last` is when it did, in epoch seconds."""
    if trainer is None or not alive or trainer.state != "training" or last is None:
        return []
    silence = now.timestamp() - last
    if not silence > max(STALL_SECONDS, STALL_STEPS * usual_seconds):
        return []
    return [
        Alert(
            "stalled", {"time": Seconds(silence), "usual": Seconds(usual_seconds)}, "bad", trainer.step, log="trainer"
        )
    ]


def ended_badly(status: ProcessStatus | None, alive: bool, run: RunDir | None = None, slot: int = 1) -> list[Alert]:
    """A program that failed or exited unexpectedly; running out of memory is an alert of its own.

    What its log in `run` ends with says more than its last record: the kind of exception, and the cure. Only programs
    that `run.py` has started have a log, so no evaluator beyond the first.
    """
    if status is None or alive or status.state in ("finished", "stopped"):
        return []
    logged = logged_error(run, status.role, status.started) if run and slot == 1 else None
    message, cure = (logged.message, logged.cure) if logged else (status.message, "")
    log = status.role if slot == 1 else ""
    values = {"program": status.role.capitalize(), "message": message, "pid": status.pid}
    if "out of memory" in message.lower():
        return [Alert("out of memory", values, "bad", cure=cure.rstrip("."), log=log)]
    failed = status.state == "failed" or logged
    return [Alert("failed" if failed else "gone", values, "bad", cure=cure.rstrip("."), log=log)]


def unevaluated(num_waiting: int, evaluator_alive: bool) -> list[Alert]:
    """Snapshots wait and nobody evaluates."""
    return [] if evaluator_alive or not num_waiting else [Alert("unevaluated", {"count": num_waiting})]


def low_disk(free_bytes: float) -> list[Alert]:
    """Soon nothing can be saved any more."""
    if free_bytes >= LOW_DISK_BYTES:
        return []
    return [Alert("low disk", {"size": Bytes(free_bytes)}, "bad" if free_bytes < NO_DISK_BYTES else "warn")]


def failed_evaluations(failures: Mapping[int, str]) -> list[Alert]:
    """Snapshots that could not be evaluated."""
    return [
        Alert("failed evaluation", {"step": step, "reason": reason}, step=step, log="evaluator")
        for step, reason in failures.items()
    ]


def overfitting(best: Best | None, steps: Sequence[float], held_out: Sequence[float]) -> list[Alert]:
    """The evaluator's signals at the newest snapshot; where it raises none, a held-out loss that only rises."""
    raised = [signal for signal in best.latest_signals if signal.raised] if best else []
    if best and raised:
        return [Alert("overfitting", {"evidence": signal.evidence}, step=best.latest_step) for signal in raised]
    known = [(loss, int(step)) for step, loss in zip(steps, held_out, strict=True) if math.isfinite(loss)]
    if len(known) <= RISING_CHECKS:
        return []
    lowest, step = min(known)
    after = [loss for loss, later in known if later > step]
    if len(after) < RISING_CHECKS or min(after[-RISING_CHECKS:]) <= RISING_SHARE * lowest:
        return []
    return [Alert("rising", {"step": step}, step=step)]


def notices(*programs: ProcessStatus | None) -> list[Alert]:
    """What the programs of this session want known: what was lost, skipped or done otherwise."""
    return [Alert("notice", {"message": text}) for status in programs if status for text in status.notices]


def typical(seconds: Sequence[float]) -> float:
    """The median of what is known; 0 when nothing is."""
    known = [value for value in seconds if math.isfinite(value)]
    return statistics.median(known) if known else 0.0


def tail_of(path: Path) -> list[dict[str, str]]:
    """The last whole rows of a table that grows, without reading the rest; empty while there is none."""
    try:
        with path.open("rb") as file:
            header = file.readline()
            file.seek(max(len(header), file.seek(0, 2) - TAIL_BYTES))
            text = file.read()
    except FileNotFoundError:
        return []
    lines = text[: text.rfind(b"\n") + 1].decode(errors="replace").splitlines()
    whole = lines[1:] if len(text) >= TAIL_BYTES else lines
    return list(csv.DictReader([header.decode(errors="replace"), *whole]))[-RECENT_STEPS:]


def _column(rows: Sequence[Mapping[str, str]], name: str) -> list[float]:
    return [_number(row.get(name) or "") for row in rows]


def _number(text: str) -> float:
    """A cell as a number; a blank is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
