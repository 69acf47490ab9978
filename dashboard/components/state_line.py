"""What each program is doing, and what a GPU holds. Values in, values out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from dashboard.text.formatting import duration
from dashboard.text.language import say
from shared.machine.gpu_readings import Gpu
from shared.run_folder.heartbeat import STALE_SECONDS
from shared.run_folder.records.process_status import FINAL_STATES, ProcessStatus
from shared.run_folder.times import seconds_since

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
