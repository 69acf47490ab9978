"""What to ship, the pictures to look at, and every snapshot: what a person sees first."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard.components.screen import show_first_screen
from dashboard.panels import LANGUAGE
from dashboard.panels.bar import follow
from dashboard.text import language


@st.fragment
def first_screen(run_name: str) -> None:
    """Drawn once; from then on the browser asks for what it shows."""
    language.use(st.session_state.get(LANGUAGE, "en"))
    left, right = st.session_state.get("left"), st.session_state.get("step")
    for asked in show_first_screen(first_screen_data(run_name, left, right), key="first_screen"):
        follow(asked, run_name)


def first_screen_data(run_name: str, left: int | None, right: int | None) -> dict[str, Any]:
    """What the first screen draws; left, right: the steps that are compared, None where nobody has chosen."""
    return {"run": run_name, "lang": language.current(), "left": left, "right": right}
