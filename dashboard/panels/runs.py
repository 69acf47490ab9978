"""All runs as cards: open one, or compare several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard import url_state
from dashboard.components.screen import Asked, show_runs
from dashboard.text import language

VIEW = ("filter", "sort", "ticked")


def runs_panel(run_name: str) -> None:
    """Drawn once; from then on the browser asks for what it shows."""
    view = {key: st.session_state.get(key) for key in VIEW}
    for asked in show_runs(runs_data(run_name, view), key="runs"):
        follow(asked)


def follow(asked: Asked) -> None:
    """Keep what is sought and ticked, and go where was asked for."""
    if isinstance(asked.get("view"), dict):
        keep_view(asked["view"])
    match asked:
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


def runs_data(run_name: str, view: Mapping[str, Any]) -> dict[str, Any]:
    """What the page draws. view: what is sought and ticked."""
    return {"lang": language.current(), "run": run_name, "view": dict(view)}


def keep_view(view: dict[str, Any]) -> None:
    """What is sought and ticked belongs to the address."""
    for key in ("filter", "sort"):
        st.session_state[key] = str(view.get(key) or "")
    st.session_state["ticked"] = [name for name in view.get("ticked") or [] if isinstance(name, str)]
    url_state.write()
