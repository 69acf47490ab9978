"""All runs as cards: open one, or compare several."""

from __future__ import annotations

import streamlit as st

from dashboard import url_state
from dashboard.components.screen import show_runs
from dashboard.text import language


def runs_panel(run_name: str) -> None:
    """Drawn once; from then on the browser asks for what it shows."""
    match show_runs({"lang": language.current(), "run": run_name}, key="runs"):
        case {"do": "open", "run": str(name)}:
            st.session_state["run"] = name
            url_state.write()
            st.switch_page("views/overview.py")
        case {"do": "compare", "runs": [str(first), *others]} if others:
            st.session_state["run"] = first
            st.session_state["compare"] = [other for other in others if isinstance(other, str)]
            url_state.write()
            st.switch_page("views/compare.py")
        case _:
            pass
