"""One line that says what a run is doing, and what may be asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal

from dashboard.data.reader import RunReader
from dashboard.data.speed import pace
from dashboard.text.formatting import duration
from dashboard.text.language import say
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.records import FINAL_STATES, ProcessStatus

Tone = Literal["good", "warn", "bad", "idle"]


@dataclass(frozen=True)
class Can:
    """Which buttons do something now."""

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
    """Of the training steps, 0 to 1."""
    can: Can


def status(reader: RunReader, now: datetime, zone: tzinfo) -> Status:
    """What the programs of the run are doing."""
    trainer = read_status(reader.run, "trainer")
    step, total = reader.last_step(), max(1, reader.config.train.max_train_steps)
    alive = is_alive(trainer)
    paused = alive and trainer is not None and trainer.state == "paused"
    can = Can(pause=alive and not paused, resume=paused, stop=alive, snapshot=alive and not paused)
    return Status(_parts(reader, trainer, step, total), _tone(trainer), min(1.0, step / total), can)


def _parts(reader: RunReader, trainer: ProcessStatus | None, step: int, total: int) -> tuple[str, ...]:
    if trainer is None:
        return (say("Not started"),)
    if not is_alive(trainer):
        state = trainer.state if trainer.state in FINAL_STATES else "dead"
        return (say(state).capitalize(), say("step {step} of {total}", step=step, total=total))
    speed = pace(reader.train(), trainer.started)
    left = (say("{time} left", time=duration((total - step) * speed.step_seconds)),) if speed else ()
    return (say("{state} {step} of {total}", state=say(trainer.state).capitalize(), step=step, total=total), *left)


def _tone(trainer: ProcessStatus | None) -> Tone:
    if trainer is None or trainer.state in ("stopped", "paused"):
        return "idle"
    if trainer.state == "failed" or (trainer.state not in FINAL_STATES and not is_alive(trainer)):
        return "bad"
    return "good"
