"""The address is what a person sees: page, run, axis, smoothing, step. Whoever opens it sees the same.

Streamlit's own `bind="query-params"` spells options as they are shown, thus differently in every language. Here they
are spelled as they are meant. What the address says and we did not write was chosen by its reader, and wins; what it
lacks stays as it was, for changing the page empties it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import streamlit as st


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


PARSERS: dict[str, Callable[[str], Any]] = {
    "run": str,
    "x": str,
    "smoothing": int,
    "scales": _words,
    "step": int,
    "compare": _words,
    "role": str,
    "lang": str,
}
DEFAULTS = {"x": "step", "role": "trainer"}
WRITTEN = "address_written"  # in the session


def read() -> None:
    """Take over what the address says; called before any widget is made."""
    written = st.session_state.get(WRITTEN, {})
    for key, parse in PARSERS.items():
        text = st.query_params.get(key)
        if text is not None and text != written.get(key):
            with suppress(ValueError):
                st.session_state[key] = parse(text)


def write() -> None:
    """Say in the address what is chosen; called at the end of a page and whenever a choice changes."""
    values = {key: st.session_state.get(key, DEFAULTS.get(key)) for key in PARSERS}
    spelled = {key: _spell(value) for key, value in values.items() if value != DEFAULTS.get(key)}
    chosen = {key: text for key, text in spelled.items() if text}
    if st.query_params.to_dict() != chosen:
        st.query_params.from_dict(chosen)
    st.session_state[WRITTEN] = chosen


def keep() -> None:
    """Leave the address as it is: it was read, and what it names is not there."""
    st.session_state[WRITTEN] = st.query_params.to_dict()


def settle(key: str, options: list[Any], default: Any) -> None:
    """Make sure that what is chosen under `key` exists; called before its widget."""
    chosen = st.session_state.get(key)
    if isinstance(chosen, list):
        st.session_state[key] = [option for option in chosen if option in options]
    elif chosen not in options:
        st.session_state[key] = default


def _spell(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
