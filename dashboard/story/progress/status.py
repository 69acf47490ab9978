"""One line that says what a run is doing and when it will have an answer, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal

import numpy as np

from dashboard.data.events import pauses
from dashboard.data.reader import RunReader
from dashboard.data.speed import pace
from dashboard.story.evidence import Evidence, read_result
from dashboard.story.progress.at_the_end import CONFIRMATIONS
from dashboard.story.progress.ending import error_of
from dashboard.story.wording import about, short, steps
from dashboard.text.formatting import duration, number
from dashboard.text.language import say
from shared.run_folder import requests
from shared.run_folder.averages import label
from shared.run_folder.heartbeat import STALE_SECONDS
from shared.run_folder.pending import BASE_MODEL, Work
from shared.run_folder.records.process_status import FINAL_STATES, ProcessStatus
from shared.run_folder.records.request import RequestKind
from shared.run_folder.run_dir import steps_in, strength_of
from shared.run_folder.times import parse_time, seconds_since

Tone = Literal["good", "warn", "bad", "idle"]
MAX_REASON = 160
"""Characters of an error in the line; the alert has all of it."""


@dataclass(frozen=True)
class Can:
    """Which requests can be made now."""

    pause: bool = False
    resume: bool = False
    stop: bool = False
    snapshot: bool = False


@dataclass(frozen=True)
class Status:
    """What the bar shows."""

    parts: tuple[str, ...]
    """The most important first; a narrow page shows the first ones. Joined by ` · `."""
    tone: Tone
    share: float
    """Of the training steps, 0 to 1; of the snapshots, where another program trains."""
    can: Can


def status(evidence: Evidence) -> Status:
    """What the programs of the run are doing."""
    reader, trainer = evidence.reader, evidence.programs.trainer
    total = max(1, reader.config.train.max_train_steps)
    place = say("{step} of {total}", step=reader.last_step(), total=total)
    if evidence.is_over:
        parts, tone = _ended(evidence, trainer, place)
    elif evidence.programs.trains and trainer:
        parts, tone = _training(evidence, trainer, place)
    elif evidence.programs.imports:
        parts, tone = [say("Waiting for LoRAs"), *_outlook(evidence)], "good"
    else:
        parts, tone = [*_trained(trainer, place), *_outlook(evidence)], "good"
    share = min(1.0, reader.last_step() / total) if trainer else _share_evaluated(reader)
    return Status(tuple(parts), tone, share, _can(reader, evidence.programs.trains, trainer))


def _share_evaluated(reader: RunReader) -> float:
    """Of the snapshots."""
    snapshots = set(reader.snapshot_steps())
    return len(snapshots & set(reader.evaluated_steps())) / max(1, len(snapshots))


def _can(reader: RunReader, alive: bool, trainer: ProcessStatus | None) -> Can:
    """What a living trainer can do that it has not been asked for yet."""

    def free(kind: RequestKind) -> bool:
        return alive and not requests.open_requests(reader.run, kind)

    paused = trainer is not None and trainer.state == "paused"
    return Can(
        pause=not paused and free("pause"),
        resume=paused and free("resume"),
        stop=free("stop"),
        snapshot=not paused and free("snapshot-now"),
    )


def _training(evidence: Evidence, trainer: ProcessStatus, place: str) -> tuple[list[str], Tone]:
    """While the trainer is alive."""
    silence = seconds_since(trainer.heartbeat, evidence.now)
    if silence > STALE_SECONDS:
        silent = say("No sign of life for {time}", time=duration(silence))
        return [silent, say("last seen at step {place}", place=place), *_queue(evidence)], "warn"
    if trainer.state in ("starting", "preparing"):
        doing = say("Starting") if trainer.state == "starting" else say("Preparing")
        return [doing, *([short(trainer.message, MAX_REASON)] if trainer.message else []), *_queue(evidence)], "good"
    if trainer.state == "paused":
        return [say("Paused at step {place}", place=place), *_queue(evidence)], "idle"
    if trainer.state == "waiting":
        return [say("Waiting at step {place} while the evaluator draws", place=place), *_queue(evidence)], "good"
    if trainer.state == "saving":
        return [say("Saving at step {place}", place=place), *_queue(evidence)], "good"
    if requests.open_requests(evidence.reader.run, "stop"):
        return [say("Stopping at step {place}", place=place), *_queue(evidence)], "good"
    left = evidence.backlog.training_seconds
    time = [say("{time} left", time=about(left))] if left is not None and left > 0 else []
    return [say("Training {place}", place=place), *time, *_outlook(evidence), *_speed(evidence, trainer)], "good"


def _speed(evidence: Evidence, trainer: ProcessStatus) -> Iterator[str]:
    """As trainers count it: steps a second, or seconds a step where that is more than one."""
    speed = pace(evidence.reader.train(), trainer.started)
    if speed and speed.step_seconds > 1:
        yield say("{number} s per step", number=number(speed.step_seconds, 2))
    elif speed and speed.step_seconds > 0:
        yield say("{number} steps/s", number=number(1 / speed.step_seconds, 2))


def _trained(trainer: ProcessStatus | None, place: str) -> list[str]:
    """Of a trainer that has ended while evaluators are still at work."""
    if trainer is None:
        return [say("Evaluating")]
    if trainer.state == "failed":
        return [say("Training failed at step {place}", place=place)]
    if trainer.state not in FINAL_STATES:
        return [say("Training ended unexpectedly at step {place}", place=place)]
    return [say("Trained {place}", place=place)]


def _outlook(evidence: Evidence) -> Iterator[str]:
    """When there will be a verdict, and what is evaluated until then."""
    seconds = evidence.backlog.verdict_seconds
    if seconds is not None and not evidence.is_over:
        yield say("verdict in about {time}", time=about(seconds))
    yield from _queue(evidence)


def _queue(evidence: Evidence) -> Iterator[str]:
    """What is being evaluated, and what comes after it: every step that has no result is in it once."""
    left = evidence.backlog
    if left.is_empty:
        return
    if not evidence.programs.evaluating:
        yield say("not evaluated: {steps} (no evaluator is running)", steps=steps(_names(left.waiting)))
        return
    again = any(work.kind == CONFIRMATIONS for work in (*left.at_work, *left.waiting))
    doing, then = steps(_names(left.at_work)), steps(_names(left.waiting))
    if again and doing:
        said = say("confirming {steps}, then {others}", steps=doing, others=then)
        yield said if then else say("confirming {steps}", steps=doing)
    elif doing:
        said = say("evaluating {steps}, then {others}", steps=doing, others=then)
        yield said if then else say("evaluating {steps}", steps=doing)
    else:
        yield say("next to be evaluated: {steps}", steps=then)


def _names(works: tuple[Work, ...]) -> Iterator[str]:
    for work in works:
        name = say("base") if work.step == BASE_MODEL else label(work.step)
        if strength := strength_of(work.kind):
            yield say("{step} at strength {strength}", step=name, strength=f"{strength:g}")
        elif work.kind in ("evaluations", CONFIRMATIONS):
            yield name
        else:
            yield say("your prompts at {step}", step=name)


def _ended(evidence: Evidence, trainer: ProcessStatus | None, place: str) -> tuple[list[str], Tone]:
    """When nobody is at work, or nothing is left to do."""
    if trainer is None:
        evaluated = evidence.reader.evaluated_steps()
        if not evaluated and not evidence.reader.snapshot_steps():
            return [say("Not started yet")], "idle"
        return ([say("Evaluated")], "good") if evidence.backlog.is_empty else ([*_queue(evidence)], "warn")
    if trainer.state == "failed":
        error = error_of(evidence.reader, trainer)
        reason = [short(error.message, MAX_REASON)] if error else []
        return [say("Failed at step {place}", place=place), *reason, *_queue(evidence)], "bad"
    if trainer.state not in FINAL_STATES:
        age = duration(seconds_since(trainer.heartbeat, evidence.now))
        return [
            say("Ended unexpectedly at step {place}", place=place),
            say("last sign of life {age} ago", age=age),
            *_queue(evidence),
        ], "bad"
    end = parse_time(_last_sign(evidence, trainer))
    took, time = duration(_worked_seconds(evidence, end)), clock(end, evidence.now, evidence.zone)
    if trainer.state == "stopped":
        said = say("Stopped {time} at step {place} after {took}", time=time, place=place, took=took)
    else:
        said = say("Finished {time} after {took}", time=time, took=took)
    return [said, *_queue(evidence)], "good" if evidence.backlog.is_empty else "warn"


def seconds_at_work(evidence: Evidence) -> float | None:
    """From the start to the last sign of life; None before the start."""
    trainer = evidence.programs.trainer
    return None if trainer is None else _worked_seconds(evidence, parse_time(_last_sign(evidence, trainer)))


def _last_sign(evidence: Evidence, trainer: ProcessStatus) -> str:
    """When the last result came, or training ended: evaluators that wait for more do not count."""
    finals = (read_result(evidence.reader, step, CONFIRMATIONS) for step in steps_in(evidence.reader.run.confirmations))
    results = [result.created for result in (*evidence.results.values(), *finals) if result]
    return max([trainer.heartbeat, *results], key=parse_time)


def _worked_seconds(evidence: Evidence, end: datetime) -> float:
    """From the start to the end, without the pauses between sessions."""
    reader = evidence.reader
    train = reader.train()
    times, resumed = train["timestamp"].to_numpy(), set(pauses(train, reader.stops()))
    gaps = np.diff(times)[[int(step) in resumed for step in train["step"].to_numpy()[1:]]] if len(times) > 1 else []
    begun = parse_time(reader.run.read_record().created).timestamp()
    first = float(times[0]) if len(times) and np.isfinite(times[0]) else begun
    return max(0.0, end.timestamp() - min(begun, first) - float(np.nansum(gaps)))


def clock(time: datetime, now: datetime, zone: tzinfo) -> str:
    """`14:16` of today, else with its date."""
    there = time.astimezone(zone)
    return f"{there:%H:%M}" if there.date() == now.astimezone(zone).date() else f"{there:%Y-%m-%d %H:%M}"
