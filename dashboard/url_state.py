"""The address holds the view: page, run, axis, smoothing, steps. Opening it shows the same view.

Streamlit's own `bind="query-params"` writes options as they are shown, so differently in every language. Here they are
written language-neutral. A value in the address that this module did not write was chosen by the reader, and wins. A
value that is missing keeps its last state, because Streamlit empties the address when the page changes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import streamlit as st


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


OPEN = "open"
PARSERS: dict[str, Callable[[str], Any]] = {
    "run": str,
    "x": str,
    "smoothing": int,
    "scales": _words,
    "curves": lambda text: text == OPEN,
    "step": int,
    "left": int,
    "order": str,
    "filter": str,
    "sort": str,
    "ticked": _words,
    "rows": str,
    "prompt": str,
    "compare": _words,
    "role": str,
    "at": str,
    "over": str,
    "find": str,
    "split": str,
    "only": str,
    "page": int,
    "lang": str,
}
DEFAULTS = {"x": "step", "role": "trainer", "at": "newest", "over": "relative"}
OWN = {"filter": "runs", "sort": "runs", "ticked": "runs", "order": "snapshots"} | dict.fromkeys(
    ("find", "split", "only", "page"), "data"
)
"""What only one page shows stands in no other page's address."""
PAGE = "page_shown"  # in the session
WRITTEN = "address_written"  # in the session
LEFT = "run_left"  # in the session


def read() -> None:
    """Take the values of the address; called before any widget is created."""
    written = st.session_state.get(WRITTEN, {})
    for key, parse in PARSERS.items():
        text = st.query_params.get(key)
        is_older = key == "run" and text == st.session_state.get(LEFT)
        if text is not None and text != written.get(key) and not is_older:
            with suppress(ValueError):
                st.session_state[key] = parse(text)


def leave(run: str, chosen: str) -> None:
    """Show another run. A page that is clicked while it is drawn still comes with the address of the run before."""
    st.session_state.update({"run": chosen, LEFT: run})


def write() -> None:
    """Write the choices to the address; called at the end of a page and when a choice changes."""
    shown = st.session_state.get(PAGE)
    keys = [key for key in PARSERS if OWN.get(key, shown) == shown]
    values = {key: st.session_state.get(key, DEFAULTS.get(key)) for key in keys}
    spelled = {key: _spell(value) for key, value in values.items() if value != DEFAULTS.get(key)}
    chosen = {key: text for key, text in spelled.items() if text}
    if st.query_params.to_dict() != chosen:
        st.query_params.from_dict(chosen)
    st.session_state[WRITTEN] = chosen
    st.session_state.pop(LEFT, None)


def keep() -> None:
    """Leave the address unchanged: it names a run that does not exist."""
    st.session_state[WRITTEN] = st.query_params.to_dict()


def settle(key: str, options: list[Any], default: Any) -> None:
    """Make sure that the choice under `key` exists; called before its widget."""
    chosen = st.session_state.get(key)
    if isinstance(chosen, list):
        st.session_state[key] = [option for option in chosen if option in options]
    elif chosen not in options:
        st.session_state[key] = default


def _spell(value: Any) -> str:
    if isinstance(value, bool):
        return OPEN if value else ""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
