"""The bar on top of every page, and where its links lead."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import streamlit as st

from dashboard import url_state
from dashboard.components.screen import Asked, show_bar
from dashboard.pages import PATHS, page_titles
from dashboard.text import language


def bar(run_name: str, run_id: str, page: str) -> None:
    """Drawn once; from then on the browser asks for what it shows."""
    for asked in show_bar(bar_data(run_name, run_id, page), key="bar"):
        follow(asked, run_name)


def bar_data(run_name: str, run_id: str, page: str) -> dict[str, Any]:
    """What the bar draws on a page."""
    return {
        "run": run_name,
        "runId": run_id,
        "page": page,
        "lang": language.current(),
        "pages": [
            {"name": name, "title": title, "url": page_url(name, run_name)} for name, title in page_titles().items()
        ],
    }


def page_url(name: str, run_name: str) -> str:
    """Relative to any page."""
    return f"{PATHS[name] or '.'}?{urlencode({'run': run_name})}"


def follow(asked: Asked, run_name: str) -> None:
    """Go where was asked for in the browser: to another run, to other pictures, to a log."""
    match asked:
        case {"do": "run", "run": str(name)}:
            url_state.leave(run_name, name)
            st.rerun()
        case {"do": "log", "role": str(role)}:
            st.session_state.update(role=role, at="last")
            url_state.write()
            st.switch_page("views/logs.py")
        case {"do": "look"}:
            st.rerun()
        case {"do": "sides"}:
            keep_sides(asked)
        case _:
            pass


def keep_sides(asked: dict[str, Any]) -> None:
    """Which two snapshots are compared belongs to the address."""
    for side, key in (("left", "left"), ("right", "step")):
        if isinstance(asked.get(side), int):
            st.session_state[key] = asked[side]
    url_state.write()
