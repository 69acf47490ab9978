"""The first line of the page: who is at work, how far, how fast. Values to facts, facts to HTML, all text escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from dashboard.progress import Pace
from dashboard.words import duration, number
from shared.records import FINAL_STATES, Answer, ProcessStatus, Request, seconds_since
from shared.status import STALE_SECONDS

Tone = Literal["", "good", "warn", "bad", "idle"]
SILENCE_SECONDS = 10.0
FINAL_TONES: dict[str, Tone] = {"finished": "good", "stopped": "idle", "failed": "bad"}


@dataclass(frozen=True)
class Fact:
    """A label, what it is, and a remark."""

    label: str
    value: str
    note: str = ""
    tone: Tone = ""


def process_fact(label: str, status: ProcessStatus | None, alive: bool, now: datetime) -> Fact:
    """What a program is doing, or that it does nothing any more: stale and dead are said, never hidden."""
    if status is None:
        return Fact(label, "not started", "", "idle")
    seconds = seconds_since(status.heartbeat, now)
    age = duration(seconds)
    if status.state in FINAL_STATES:
        return Fact(label, status.state, status.message or f"{age} ago", FINAL_TONES[status.state])
    if not alive:
        return Fact(label, "dead", f"pid {status.pid} is gone, last heartbeat {age} ago", "bad")
    if seconds > STALE_SECONDS:
        return Fact(label, "stale", f"no heartbeat for {age}, said {status.state}", "warn")
    message = f"{status.message}, " if status.message else ""
    return Fact(label, status.state, f"{message}heartbeat {age} ago", "good")


def evaluator_fact(status: ProcessStatus | None, alive: bool, now: datetime) -> Fact:
    """As any process, with the step under judgement."""
    fact = process_fact("Evaluator", status, alive, now)
    at_work = status is not None and fact.value in ("evaluating", "draining")
    return Fact(fact.label, f"{fact.value} step {status.step}", fact.note, fact.tone) if status and at_work else fact


def step_fact(step: int, total: int) -> Fact:
    """How far."""
    return Fact("Step", f"{step:,} / {total:,}", f"{100 * step / total:.0f} %" if total else "")


def speed_fact(pace: Pace | None) -> Fact:
    """How fast."""
    if pace is None:
        return Fact("Speed", "–", "")
    return Fact("Speed", f"{number(1 / pace.step_seconds)} steps/s", f"{number(pace.step_seconds)} s a step")


def remaining_fact(pace: Pace | None, steps_left: int) -> Fact:
    """How long still, with the range that the last steps' spread implies."""
    if pace is None or steps_left <= 0:
        return Fact("Time left", "–", "")
    note = ""
    if pace.fastest is not None and pace.slowest is not None:
        note = f"{duration(steps_left * pace.fastest)} to {duration(steps_left * pace.slowest)}"
    return Fact("Time left", duration(steps_left * pace.step_seconds), note)


def judged_fact(snapshots: Sequence[int], evaluated: Sequence[int]) -> Fact:
    """The evaluator's lag: snapshots published against snapshots judged."""
    if not snapshots:
        return Fact("Snapshots judged", "–", "none published yet")
    waiting = len(set(snapshots) - set(evaluated))
    note = f"{waiting} waiting" if waiting else "none waiting"
    return Fact("Snapshots judged", f"{len(snapshots) - waiting} of {len(snapshots)}", note)


def facts_html(facts: Sequence[Fact], share: float) -> str:
    """The facts as a definition list over a thin progress bar."""
    items = "".join(
        f'<div class="fact {fact.tone}"><dt>{html.escape(fact.label)}</dt><dd>{html.escape(fact.value)}</dd>'
        f"<dd class='note' title='{html.escape(fact.note)}'>{html.escape(fact.note)}&nbsp;</dd></div>"
        for fact in facts
    )
    width = f"{100 * min(1.0, max(0.0, share)):.1f}%"
    return f'<dl class="facts">{items}</dl><div class="progress"><div style="width:{width}"></div></div>'


def stop_chain_html(request: Request, answer: Answer, now: datetime) -> str:
    """requested → seen → saved → stopped, with the age of each stage reached."""
    stages = {"requested": request.created, "seen": answer.seen, "saved": answer.saved, "stopped": answer.stopped}
    links = [
        f'<li class="{"reached" if when else "open"}">{stage}'
        f"{f'<span>{duration(seconds_since(when, now))} ago</span>' if when else ''}</li>"
        for stage, when in stages.items()
    ]
    return f'<ol class="chain" aria-label="stop request">{"".join(links)}</ol>'


def stop_trouble(request: Request, answer: Answer, trainer: Fact, now: datetime) -> str:
    """Why a request goes nowhere; empty while it proceeds in time or is done."""
    if answer.stopped:
        return ""
    if answer.ignored:
        return f"The stop request had no effect: {answer.ignored}."
    age = seconds_since(request.created, now)
    if trainer.tone == "bad":
        return f"The trainer ended without answering the stop request ({trainer.value}: {trainer.note})."
    if answer.seen is None and age > SILENCE_SECONDS:
        return (
            f"The trainer has not answered for {duration(age)} ({trainer.value}, {trainer.note}). "
            "It looks for requests after every step."
        )
    return ""
