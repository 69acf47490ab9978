"""The logs of the programs."""

from __future__ import annotations

import re
from pathlib import Path

import streamlit as st

from dashboard import url_state
from dashboard.data.log_tail import Level, Start, Tail, last_lines
from dashboard.data.reader import RunReader
from dashboard.panels import refreshed
from dashboard.text.formatting import size
from dashboard.text.language import say
from dashboard.text.verbatim import verbatim
from shared.files.regular import own_file
from shared.run_folder.run_dir import RunDir

LINE_COUNTS = (200, 1000, 5000)
HEIGHT = 620
LEVELS: dict[Level, str] = {"all": "all lines", "warnings": "warnings, errors", "errors": "errors"}
STARTS: dict[Start, str] = {"newest": "newest lines", "first": "from the first error", "last": "from the last error"}
ROLE = re.compile(r"[a-z][a-z0-9_-]*")


@refreshed("logs")
def logs_panel(reader: RunReader) -> None:
    """The last lines of one program, filtered; the newest at the bottom, which stays in view."""
    logs = logs_of(reader.run)
    roles = sorted(logs)
    if not roles:
        st.info(say("No program has written a log yet."), icon=":material/hourglass_empty:")
        return
    url_state.settle("role", roles, "trainer" if "trainer" in roles else roles[0])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        role = st.segmented_control(
            say("Program"),
            roles,
            key="role",
            required=True,
            persist_state="session",
            on_change=url_state.write,
            width="content",
        )
        wanted = st.text_input(say("Filter"), key="log_filter", persist_state="session", width=260)
        count = st.selectbox(say("Lines"), LINE_COUNTS, key="log_lines", persist_state="session", width=120)
        level = st.selectbox(
            say("Level"),
            LEVELS,
            key="log_level",
            persist_state="session",
            width=160,
            format_func=lambda level: say(LEVELS[level]),
        )
        url_state.settle("at", [*STARTS], "newest")
        start = st.selectbox(
            say("Show"),
            STARTS,
            key="at",
            persist_state="session",
            on_change=url_state.write,
            width=190,
            format_func=lambda start: say(STARTS[start]),
        )
    path = logs[str(role)]
    tail = last_lines(path, count, wanted, level, start)
    with st.container(height=HEIGHT, autoscroll=start == "newest", key="log"):
        st.code("\n".join(tail.lines) or say("No line matches."), language=None, wrap_lines=True)
    st.caption(" · ".join([verbatim(path), *what_is_hidden(tail)]))


def what_is_hidden(tail: Tail) -> list[str]:
    """Lines that were read and are not shown, and what was not read."""
    hidden = [say("{count} lines are hidden", count=tail.hidden)] if tail.hidden else []
    unread = [say("the first {size} are not read", size=size(tail.unread_bytes))] if tail.unread_bytes else []
    return [*hidden, *unread]


def logs_of(run: RunDir) -> dict[str, Path]:
    """Program → its log. A link out of the run and a named pipe are no logs."""
    files = (path for path in run.logs.glob("*.log") if ROLE.fullmatch(path.stem))
    return {path.stem: path for path in files if own_file(path, run.path)}
