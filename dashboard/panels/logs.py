"""The logs of the programs."""

from __future__ import annotations

import re
from pathlib import Path

import streamlit as st

from dashboard import url_state
from dashboard.data.log_tail import last_lines
from dashboard.data.reader import RunReader
from dashboard.panels import refreshed
from dashboard.text.language import say
from dashboard.text.verbatim import verbatim
from shared.files.regular import own_file
from shared.run_folder.run_dir import RunDir

LINE_COUNTS = (200, 1000, 5000)
HEIGHT = 620
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
    path = logs[str(role)]
    lines = last_lines(path, count, wanted)
    with st.container(height=HEIGHT, autoscroll=True, key="log"):
        st.code("\n".join(lines) or say("No line matches."), language=None, wrap_lines=True)
    st.caption(verbatim(path))


def logs_of(run: RunDir) -> dict[str, Path]:
    """Program → its log. A link out of the run and a named pipe are no logs."""
    files = (path for path in run.logs.glob("*.log") if ROLE.fullmatch(path.stem))
    return {path.stem: path for path in files if own_file(path, run.path)}
