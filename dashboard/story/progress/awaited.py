"""What stands in place of what is not there yet: what is awaited, or that no program is working on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from dashboard.data.reader import RunReader
from dashboard.story.wording import of_run
from dashboard.text.language import say
from dashboard.text.verbatim import verbatim
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.sharing.active_evaluators import read_active_evaluators
from shared.run_folder.times import seconds_since

START_SECONDS = 60.0  # in which an evaluator loads its libraries and takes its slot


@dataclass(frozen=True)
class Absent:
    """Why something is not there; what stands between backticks is a command."""

    text: str
    awaited: bool
    """Whether a program is about to make it."""


def from_training(reader: RunReader, text: str) -> Absent:
    """For what the trainer makes."""
    if reader.run.read_record().imported:
        return Absent(say("Nothing to show: another program trains this LoRA."), awaited=False)
    trainer = read_status(reader.run, "trainer")
    awaited = trainer is None or is_alive(trainer)
    return Absent(text if awaited else say("Nothing to show: the trainer is not running."), awaited)


def from_evaluation(reader: RunReader, text: str) -> Absent:
    """For what evaluators make; they start together with the trainer."""
    trainer, (_, evaluating) = read_status(reader.run, "trainer"), read_active_evaluators(reader.run)
    starting = trainer is None or (
        is_alive(trainer) and seconds_since(trainer.started, datetime.now(UTC)) < START_SECONDS
    )
    awaited = bool(evaluating) or starting
    nobody = say(
        "Nothing is evaluated: no evaluator is running. Start one with {command}.",
        command=verbatim(of_run("evaluate", reader.run.path)),
    )
    return Absent(text if awaited else nobody, awaited)
