"""The live page of one run: state, curves, the best snapshot, pictures."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.panels.best import best_panel
from dashboard.panels.curves import curves_panel
from dashboard.panels.pictures import pictures_panel
from dashboard.panels.state import state_panel
from dashboard.runs import run_names, runs_folder

STYLE = Path(__file__).resolve().parents[1] / "style.css"


def page() -> None:
    """The whole page; the run is chosen by the address (`?run=name`) or in the page."""
    st.set_page_config(page_title="Darkroom", page_icon="📷", layout="wide")
    st.html(STYLE)
    names = run_names()
    if not names:
        wait_for_a_run()
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("#### Darkroom", width="content")
        name = st.selectbox("Run", names, key="run", bind="query-params", label_visibility="collapsed", width=320)
    look_for_new_runs(names)
    state_panel(name)
    curves_panel(name)
    best_panel(name)
    pictures_panel(name)


@st.fragment(run_every=1.0)
def wait_for_a_run() -> None:
    """The page of an empty runs folder; turns into the live page by itself."""
    if run_names():
        st.rerun()
    st.markdown("#### Darkroom")
    st.info(f"No run in {runs_folder()} yet. Start one with `python run.py demo`; it appears here by itself.")


@st.fragment(run_every=5.0)
def look_for_new_runs(names: list[str]) -> None:
    """Offer a run that came after the page was opened."""
    if run_names() != names:
        st.rerun()


page()
