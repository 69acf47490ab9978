"""The parts of a page, each refreshed by a clock of its own: a tick redraws what changed and nothing else.

Panels run only while somebody looks; nothing that must happen may depend on them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Concatenate, ParamSpec

import streamlit as st

from dashboard import language
from dashboard.reader import RunReader
from dashboard.runs import open_reader
from shared.errors import DarkroomError

LANGUAGE = "language"  # in the session: what a panel's thread speaks


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


def chosen_run() -> str:
    """The run that the shell chose."""
    return str(st.session_state["run"])
