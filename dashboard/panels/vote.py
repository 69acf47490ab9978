"""Two pictures at a time, to be compared by people."""

from __future__ import annotations

import streamlit as st

from dashboard.components.vote import show_vote
from dashboard.panels import LANGUAGE
from dashboard.text import language


@st.fragment
def vote_panel(run_name: str) -> None:
    """Drawn once; from then on the browser asks for what it shows, and sends the votes itself."""
    language.use(st.session_state.get(LANGUAGE, "en"))
    show_vote(run_name, key="vote")
