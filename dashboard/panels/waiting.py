"""The text of an empty page: what will appear here, or that no program is working on it."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

import streamlit as st

from dashboard.data.reader import RunReader
from dashboard.text.language import say
from dashboard.text.verbatim import verbatim
from shared.run_folder.active_evaluators import read_active_evaluators
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.times import seconds_since

LOOK_SECONDS = 5.0
START_SECONDS = 60.0  # in which an evaluator loads its libraries and takes its slot


def wait_for_training(reader: RunReader, text: str) -> float:
    """For pages that the trainer fills; returns the seconds after which to look again."""
    trainer = read_status(reader.run, "trainer")
    awaited = trainer is None or is_alive(trainer)
    return _tell(text if awaited else say("Nothing to show: the trainer is not running."), awaited)


def wait_for_evaluation(reader: RunReader, text: str) -> float:
    """For pages that evaluators fill; they start together with the trainer. Returns the seconds after which to look
    again."""
    trainer, (_, evaluating) = read_status(reader.run, "trainer"), read_active_evaluators(reader.run)
    starting = trainer is None or (
        is_alive(trainer) and seconds_since(trainer.started, datetime.now(UTC)) < START_SECONDS
    )
    awaited = bool(evaluating) or starting
    nobody = say(
        "Nothing is evaluated: no evaluator is running. Start one with {command}.",
        command=verbatim(f"python run.py evaluate {shlex.quote(str(reader.run.path))}"),
    )
    return _tell(text if awaited else nobody, awaited)


def _tell(text: str, awaited: bool) -> float:
    st.info(text, icon=":material/hourglass_empty:" if awaited else ":material/info:")
    return LOOK_SECONDS
