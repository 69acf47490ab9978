"""The pictures and captions of a run's data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard import url_state
from dashboard.components.dataset import dataset_data, show_dataset
from dashboard.panels import LANGUAGE
from dashboard.text import language

VIEW = ("find", "split", "only", "page")


@st.fragment
def data_panel(run_name: str) -> None:
    """Drawn once; from then on the browser asks for what it shows, and sends the changes itself."""
    language.use(st.session_state.get(LANGUAGE, "en"))
    view = {key: st.session_state.get(key) for key in VIEW}
    match show_dataset(dataset_data(run_name, view), key="dataset"):
        case {"do": "each", "asked": [*_, {"view": dict(found)}]} | {"view": dict(found)}:
            keep_view(found)
        case _:
            pass


def keep_view(view: Mapping[str, Any]) -> None:
    """What is sought belongs to the address."""
    for key in ("find", "split", "only"):
        st.session_state[key] = str(view.get(key) or "")
    page = view.get("page")
    st.session_state["page"] = page if isinstance(page, int) and page > 1 else None
    url_state.write()
