"""What deserves attention now, each told from a file that a program wrote. Values in, values out; time is an argument.

Nothing here acts: the trainer skips bad steps and stops by itself, the supervisor restarts what died.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pandas as pd

from dashboard.events import typical
from dashboard.language import say
from dashboard.words import duration, size
from shared.records import ProcessStatus

Level = Literal["warn", "bad"]

RECENT_STEPS = 100
BAD_IN_A_ROW = 3
STALL_SECONDS, STALL_STEPS = 60.0, 20
LOW_DISK_BYTES, NO_DISK_BYTES = 10e9, 2e9
RISING_CHECKS, RISING_SHARE = 3, 1.02


@dataclass(frozen=True)
class Alert:
    """A sentence, how grave it is, and the step it belongs to."""

    text: str
    level: Level = "warn"
    step: int | None = None


def not_finite(train: pd.DataFrame) -> list[Alert]:
    """Recent steps without a finite loss."""
    recent = train.tail(RECENT_STEPS)
    bad = ~np.isfinite(recent["loss"].to_numpy())
    if not bad.any():
        return []
    last = int(recent["step"].to_numpy()[bad][-1])
    text = say(
        "{count} of the last {all} steps have no finite loss, step {step} the last.",
        count=int(bad.sum()),
        all=len(bad),
        step=last,
    )
    return [Alert(text, "bad" if bad[-BAD_IN_A_ROW:].all() and len(bad) >= BAD_IN_A_ROW else "warn", last)]


def stalled(train: pd.DataFrame, trainer: ProcessStatus | None, alive: bool, now: datetime) -> list[Alert]:
    """A trainer that lives and says it trains, yet finishes no step."""
    if trainer is None or not alive or trainer.state != "training" or train.empty:
        return []
    usual = typical(train["step_seconds"].to_numpy()[-RECENT_STEPS:])
    silence = now.timestamp() - float(train["timestamp"].iloc[-1])
    if not silence > max(STALL_SECONDS, STALL_STEPS * usual):
        return []
    text = say(
        "No step has been finished for {time}; one usually takes {usual}.",
        time=duration(silence),
        usual=duration(usual),
    )
    return [Alert(text, "bad", int(train["step"].iloc[-1]))]


def ended_badly(name: str, status: ProcessStatus | None, alive: bool) -> list[Alert]:
    """A program that failed or is gone; want of memory is named as such."""
    if status is None or alive or status.state in ("finished", "stopped"):
        return []
    if "out of memory" in status.message.lower():
        return [Alert(say("{program} ran out of memory: {message}", program=name, message=status.message), "bad")]
    if status.state == "failed":
        return [Alert(say("{program} failed: {message}", program=name, message=status.message), "bad")]
    return [Alert(say("{program} is gone without a last word (pid {pid}).", program=name, pid=status.pid), "bad")]


def unjudged(num_waiting: int, evaluator_alive: bool) -> list[Alert]:
    """Snapshots wait and nobody judges."""
    if evaluator_alive or not num_waiting:
        return []
    return [Alert(say("No evaluator is at work; snapshots waiting: {count}.", count=num_waiting))]


def low_disk(free_bytes: float) -> list[Alert]:
    """Soon nothing can be saved any more."""
    if free_bytes >= LOW_DISK_BYTES:
        return []
    level: Level = "bad" if free_bytes < NO_DISK_BYTES else "warn"
    return [Alert(say("Only {size} are free on the disk of this run.", size=size(free_bytes)), level)]


def failed_evaluations(failures: Mapping[int, str]) -> list[Alert]:
    """Snapshots that could not be judged."""
    return [
        Alert(say("Step {step} could not be judged: {reason}", step=step, reason=reason), "warn", step)
        for step, reason in failures.items()
    ]


def overfitting(validation: pd.DataFrame, verdict: Mapping[str, Any]) -> list[Alert]:
    """The evaluator's own signals; else a held-out loss that only rises."""
    said = raised_signals(verdict)
    losses = validation.dropna(subset=["held_out_loss"])
    held_out, steps = losses["held_out_loss"].to_numpy(), losses["step"].to_numpy()
    if said or len(held_out) <= RISING_CHECKS:
        return said
    lowest = int(np.argmin(held_out))
    after = held_out[lowest + 1 :]
    if len(after) < RISING_CHECKS or not (after[-RISING_CHECKS:] > RISING_SHARE * held_out[lowest]).all():
        return []
    step = int(steps[lowest])
    return [Alert(say("The held-out loss has only risen since step {step}: overfitting.", step=step), "warn", step)]


def raised_signals(verdict: Mapping[str, Any]) -> list[Alert]:
    """Signs of overfitting at the newest snapshot, with the evaluator's evidence."""
    told = verdict.get("latest_signals") or verdict.get("signals") or []
    step = verdict.get("latest_step")
    return [
        Alert(say("Overfitting: {evidence}", evidence=signal["evidence"]), "warn", step)
        for signal in told
        if signal.get("raised")
    ]


def notices(*programs: ProcessStatus | None) -> list[Alert]:
    """What the programs of this session want known: what was lost, skipped or done otherwise."""
    return [Alert(text) for status in programs if status for text in status.notices]
