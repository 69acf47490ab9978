"""The first line of the page: who is at work, how far, how fast. Values to facts, facts to HTML, all text escaped."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from dashboard.data.machine_usage import Gpu
from dashboard.data.speed import Pace
from dashboard.text.formatting import duration, number
from dashboard.text.language import say
from shared.run_folder.heartbeat import STALE_SECONDS
from shared.run_folder.records import FINAL_STATES, ProcessStatus, seconds_since

Tone = Literal["", "good", "warn", "bad", "idle"]
HOT_CELSIUS = 88
GIB = 1 << 30
FINAL_TONES: dict[str, Tone] = {"finished": "good", "stopped": "idle", "failed": "bad"}
WORST_FIRST: tuple[Tone, ...] = ("bad", "warn", "good", "idle", "")


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
        return Fact(label, say("not started"), "", "idle")
    seconds = seconds_since(status.heartbeat, now)
    age = duration(seconds)
    if status.state in FINAL_STATES:
        note = status.message or say("{age} ago", age=age)
        return Fact(label, say(status.state), note, FINAL_TONES[status.state])
    if not alive:
        note = say("pid {pid} no longer exists, last heartbeat {age} ago", pid=status.pid, age=age)
        return Fact(label, say("dead"), note, "bad")
    if seconds > STALE_SECONDS:
        note = say("no heartbeat for {age}, last state {state}", age=age, state=say(status.state))
        return Fact(label, say("stale"), note, "warn")
    note = say("heartbeat {age} ago", age=age) + (f" · {status.message}" if status.message else "")
    return Fact(label, say(status.state), note, "idle" if status.state == "paused" else "good")


def evaluator_fact(status: ProcessStatus | None, alive: bool, now: datetime) -> Fact:
    """As any process, with the step under evaluation."""
    fact = process_fact(say("Evaluator"), status, alive, now)
    if status is None or fact.tone != "good" or status.state not in ("evaluating", "draining"):
        return fact
    if status.message:
        return fact
    return Fact(fact.label, fact.value, f"{fact.note} · {say('step')} {status.step}", fact.tone)


def evaluators_fact(evaluators: Mapping[int, ProcessStatus], alive: Collection[int], now: datetime) -> Fact:
    """One evaluator as any process; of several how many are at work, and each by its slot."""
    facts = {slot: evaluator_fact(status, slot in alive, now) for slot, status in evaluators.items()}
    if len(facts) < 2:
        return next(iter(facts.values()), evaluator_fact(None, False, now))
    notes = [
        say("{slot}: {state}, {note}", slot=slot, state=fact.value, note=fact.note) for slot, fact in facts.items()
    ]
    tone = min(facts.values(), key=lambda fact: WORST_FIRST.index(fact.tone)).tone
    return Fact(say("Evaluators"), say("{count} running", count=len(alive)), "; ".join(notes), tone)


def step_fact(step: int, total: int) -> Fact:
    """How far."""
    return Fact(say("Step"), f"{step:,} / {total:,}", f"{100 * step / total:.0f} %" if total else "")


def speed_fact(pace: Pace | None, usual_seconds: float = 0.0) -> Fact:
    """How fast; of a run that is not at work, how fast it usually was."""
    if pace is None and usual_seconds:
        return Fact(say("Speed"), say("{number} steps/s", number=number(1 / usual_seconds)), say("median of the run"))
    if pace is None:
        return Fact(say("Speed"), "–", "")
    return Fact(
        say("Speed"),
        say("{number} steps/s", number=number(1 / pace.step_seconds)),
        say("{number} s per step", number=number(pace.step_seconds)),
    )


def remaining_fact(pace: Pace | None, steps_left: int, now: datetime) -> Fact:
    """How long still, until when by the clock of `now`, with the range that the last steps' spread implies."""
    if pace is None or steps_left <= 0:
        return Fact(say("Time left"), "–", "")
    end = now + timedelta(seconds=steps_left * pace.step_seconds)
    note = say("until {time}", time=f"{end:%H:%M}")
    if pace.fastest is not None and pace.slowest is not None:
        soonest, latest = spread(steps_left * pace.fastest, steps_left * pace.slowest)
        note += say(", {soonest} to {latest}", soonest=soonest, latest=latest)
    return Fact(say("Time left"), duration(steps_left * pace.step_seconds), note)


def spread(fewest_seconds: float, most_seconds: float) -> tuple[str, str]:
    """Both ends of a range, short: whole minutes up to an hour."""
    if not 120 <= most_seconds < 3600:
        return duration(fewest_seconds), duration(most_seconds)
    return f"{fewest_seconds // 60:.0f}", say("{m} min", m=f"{-(-most_seconds // 60):.0f}")


def evaluated_fact(
    snapshots: Sequence[int], waiting: Collection[int], skipped: Collection[int] = (), failed: Collection[int] = ()
) -> Fact:
    """The evaluator's lag: snapshots published against snapshots evaluated; those skipped or failed are neither."""
    if not snapshots:
        return Fact(say("Snapshots evaluated"), "–", say("none published yet"))
    num_waiting, num_skipped, num_failed = (len(set(snapshots) & set(steps)) for steps in (waiting, skipped, failed))
    note = say("{count} not evaluated yet", count=num_waiting) if num_waiting else say("none waiting")
    note += say(", {count} skipped", count=num_skipped) if num_skipped else ""
    note += say(", {count} failed", count=num_failed) if num_failed else ""
    done = say("{done} of {all}", done=len(snapshots) - num_waiting - num_skipped - num_failed, all=len(snapshots))
    return Fact(say("Snapshots evaluated"), done, note)


def gpu_fact(gpu: Gpu) -> Fact:
    """Memory of a GPU, and how warm and how busy it is."""
    parts = [
        f"{gpu.celsius} °C" if gpu.celsius is not None else "",
        f"{gpu.watts:.0f} W" if gpu.watts is not None else "",
        f"{gpu.utilisation_percent} %" if gpu.utilisation_percent is not None else "",
    ]
    tone: Tone = "warn" if (gpu.celsius or 0) >= HOT_CELSIUS else ""
    memory = f"{gpu.used_bytes / GIB:.1f} / {gpu.total_bytes / GIB:.1f} GiB"
    return Fact("GPU", memory, " · ".join(filter(None, parts)), tone)


def facts_html(facts: Sequence[Fact], share: float) -> str:
    """The facts as a definition list over a thin progress bar."""
    items = "".join(
        f'<div class="fact {fact.tone}"><dt>{html.escape(fact.label)}</dt><dd>{html.escape(fact.value)}</dd>'
        f"<dd class='note' title='{html.escape(fact.note)}'>{html.escape(fact.note)}&nbsp;</dd></div>"
        for fact in facts
    )
    width = f"{100 * min(1.0, max(0.0, share)):.1f}%"
    return f'<dl class="facts">{items}</dl><div class="progress"><div style="width:{width}"></div></div>'
