"""The parts of a page, each refreshed by a clock of its own: a tick redraws what changed and nothing else.

Panels run only while somebody looks; nothing that must happen may depend on them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Concatenate, ParamSpec

import streamlit as st

from dashboard.data.reader import RunReader
from dashboard.data.runs import open_reader
from dashboard.text import language
from dashboard.text.language import say
from shared.errors import DarkroomError, RunFolderError

LANGUAGE = "language"  # in the session: what a panel's thread speaks
RUN_IDS = "run_ids"  # in the session: run name → the id of the run that was shown under it


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
                body(shown_reader(run_name), *further, **named)

        return st.fragment(shown, run_every=seconds)

    return decorate


def shown_reader(run_name: str) -> RunReader:
    """The reader of the run that the viewer sees.

    Raises:
        RunFolderError: it is gone or cannot be read, or another run has its name now.
    """
    reader = open_reader(run_name)
    if is_another(run_name, reader.run_id):
        raise RunFolderError(say("Another run has the name {run} now.", run=run_name))
    return reader


def act(reader: RunReader, do: Callable[..., object], *given: object) -> None:
    """What a button that was drawn for a run does, unless another run is in the folder by now."""
    if reader.is_there():
        do(*given)


def is_another(run_name: str, run_id: str) -> bool:
    """Whether the viewer was shown another run under this name; an empty id is one that could not be read."""
    known = st.session_state.get(RUN_IDS, {}).get(run_name)
    return bool(known and run_id) and known != run_id


def chosen_run() -> str:
    """The run that the shell chose."""
    return str(st.session_state["run"])
