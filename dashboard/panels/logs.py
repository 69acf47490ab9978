"""The logs of the programs."""

from __future__ import annotations

import streamlit as st

from dashboard import url_state
from dashboard.components.screen import show_log
from dashboard.data.reader import RunReader
from dashboard.panels import refreshed
from dashboard.story.log import LEVELS, LINE_COUNTS, STARTS, logs_of
from dashboard.text.language import say


@refreshed("programs")
def logs_panel(reader: RunReader) -> None:
    """The last lines of one program, filtered; the newest at the bottom, which stays in view. The browser asks for the
    lines."""
    roles = sorted(logs_of(reader.run))
    if not roles:
        st.info(say("No program has written a log yet."), icon=":material/hourglass_empty:")
        return
    url_state.settle("role", roles, role_at_first(roles))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="log_choice"):
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
    show_log(reader.name, str(role), key="log", count=count, wanted=wanted, level=level, start=start)


def role_at_first(roles: list[str]) -> str:
    """The program whose log is shown while nobody has chosen."""
    return "trainer" if "trainer" in roles else roles[0]
