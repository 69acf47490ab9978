"""What to ship, the pictures to look at, and every snapshot: what a person sees first."""

from __future__ import annotations

import streamlit as st

from dashboard.components.screen import show_first_screen
from dashboard.panels import LANGUAGE
from dashboard.panels.bar import follow
from dashboard.text import language


@st.fragment
def first_screen(run_name: str) -> None:
    """Drawn once; from then on the browser asks for what it shows."""
    language.use(st.session_state.get(LANGUAGE, "en"))
    sides = {"left": st.session_state.get("left"), "right": st.session_state.get("step")}
    follow(show_first_screen({"run": run_name, "lang": language.current(), **sides}, key="first_screen"), run_name)
