"""The parts of a page, each refreshed by a clock of its own: a tick redraws what changed and nothing else.

Panels run only while somebody looks; nothing that must happen may depend on them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Concatenate, ParamSpec

import streamlit as st

from dashboard import language
from dashboard.language import say
from dashboard.reader import RunReader
from dashboard.runs import open_reader
from shared.crew import read_crew
from shared.errors import DarkroomError
from shared.records import seconds_since
from shared.status import is_alive, read_status

LANGUAGE = "language"  # in the session: what a panel's thread speaks
START_SECONDS = 60.0  # in which an evaluator loads its libraries and takes its seat


Further = ParamSpec("Further")


def refreshed(
    seconds: float,
) -> Callable[[Callable[Concatenate[RunReader, Further], None]], Callable[Concatenate[str, Further], None]]:
    """Make `body(reader, …)` a panel that is drawn anew every `seconds`, called with the run's name.

    While the run cannot be read the panel is empty; the state line, which every page has, says why.
    """

    def decorate(body: Callable[Concatenate[RunReader, Further], None]) -> Callable[Concatenate[str, Further], None]:
        @functools.wraps(body)
        def shown(run_name: str, *further: Further.args, **named: Further.kwargs) -> None:
            language.use(st.session_state.get(LANGUAGE, "en"))
            with suppress(DarkroomError):
                body(open_reader(run_name), *further, **named)

        return st.fragment(shown, run_every=seconds)

    return decorate


def wait_for_training(reader: RunReader, text: str) -> None:
    """Says what will be here, or that nobody is at work on it."""
    trainer = read_status(reader.run, "trainer")
    awaited = trainer is None or is_alive(trainer)
    _tell(text if awaited else say("Nothing to show: the trainer is not at work."), awaited)


def wait_for_judgement(reader: RunReader, text: str) -> None:
    """The same of what evaluators make; they start together with the trainer."""
    trainer, (_, judging) = read_status(reader.run, "trainer"), read_crew(reader.run)
    starting = trainer is None or (
        is_alive(trainer) and seconds_since(trainer.started, datetime.now(timezone.utc)) < START_SECONDS
    )
    awaited = bool(judging) or starting
    nobody = say(
        "Nothing is judged: no evaluator is at work. `python run.py evaluate {run}` starts one.", run=reader.run.path
    )
    _tell(text if awaited else nobody, awaited)


def _tell(text: str, awaited: bool) -> None:
    st.info(text, icon=":material/hourglass_empty:" if awaited else ":material/info:")


def chosen_run() -> str:
    """The run that the shell chose."""
    return str(st.session_state["run"])
