"""The parts of a page, each drawn again when the files that it shows have changed, and only then.

Panels run only while somebody looks; nothing that must happen may depend on them. One that fails says so in its place
and leaves the others alone.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Concatenate, ParamSpec

import streamlit as st

from dashboard.components.watch import watch
from dashboard.data.reader import RunReader
from dashboard.data.runs import open_reader
from dashboard.data.versions import version
from dashboard.text import language
from dashboard.text.language import say
from dashboard.text.verbatim import verbatim
from shared.errors import DarkroomError, RunFolderError

LANGUAGE = "language"  # in the session: what a panel's thread speaks
RUN_IDS = "run_ids"  # in the session: run name → the id of the run that was shown under it
MAX_TOLD = 1000
UNREAD, RETRY_SECONDS = "", 5.0  # of a panel that could not be drawn

_log = logging.getLogger(__name__)
_told: set[str] = set()  # failures that the terminal has shown: a panel fails again at every tick

Further = ParamSpec("Further")
Body = Callable[Concatenate[RunReader, Further], float | None]


def refreshed(
    *parts: str, seconds: float = 2.0
) -> Callable[[Body[Further]], Callable[Concatenate[str, Further], None]]:
    """Make `body(reader, …)` a panel that is called with the run's name and drawn again when one of `parts` of the run
    folder has changed (`dashboard.data.versions`), but not within `seconds`.

    A body that shows something else as well, such as an age, returns the seconds after which it must be drawn again.
    While the run cannot be read the panel is empty; the bar, which every page has, says why.
    """

    def decorate(body: Body[Further]) -> Callable[Concatenate[str, Further], None]:
        @functools.wraps(body)
        def shown(run_name: str, *further: Further.args, **named: Further.kwargs) -> None:
            language.use(st.session_state.get(LANGUAGE, "en"))
            drawn, interval, again = UNREAD, RETRY_SECONDS, RETRY_SECONDS
            with failing_alone(body.__name__):
                reader = _reader_or_none(run_name)
                if reader:
                    language.count_in(reader.unit)
                    drawn = version(reader.run, parts)
                    interval = seconds
                    again = body(reader, *further, **named)
            watch(run_name, parts, drawn, seconds=interval, again=again, key=body.__name__)

        return st.fragment(shown)

    return decorate


@contextmanager
def failing_alone(part: str) -> Generator[None]:
    """Say in one sentence that this part of the page cannot be shown: the terminal has the rest, with its traceback."""
    try:
        yield
    except DarkroomError as error:
        st.error(sentence(error), icon=":material/error:")
    except Exception as error:  # noqa: BLE001 - the edge of a part: the others stay
        text = f"{part}: {type(error).__name__}: {error}"
        if text not in _told and len(_told) < MAX_TOLD:
            _told.add(text)
            _log.exception("%s of the page failed", part)
        st.error(
            say("This part of the page cannot be shown. The reason is in the terminal of the dashboard."),
            icon=":material/error:",
        )


def sentence(error: DarkroomError) -> str:
    """An error and its cure, as Markdown."""
    return f"{verbatim(error)}\n\n{verbatim(error.hint)}" if error.hint else verbatim(error)


def _reader_or_none(run_name: str) -> RunReader | None:
    """None if the run cannot be read."""
    with suppress(DarkroomError):
        return shown_reader(run_name)
    return None


def shown_reader(run_name: str) -> RunReader:
    """The reader of the run that the viewer sees.

    Raises:
        RunFolderError: it is gone or cannot be read, or another run has its name now.
    """
    reader = open_reader(run_name)
    _ = reader.config  # without its settings nothing of it can be shown
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
