"""A Plotly figure that keeps zoom and legend while its data changes.

`st.plotly_chart` creates a new chart for new data (its element id is a hash of the data, streamlit issue 8782); this
component calls `Plotly.react` on the existing chart. Figures of one group share their axis: zooming one zooms all. The
component returns the zoomed window, so that Python can send its full detail. A double click resets the view.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components import v2 as components

from dashboard.charts.parts import Figure
from dashboard.server.files import PLOTLY_URL

SCRIPT = Path(__file__).with_name("figure.js")
WINDOW = "figure_window"  # in the session: (group, ends)

FRAME = """<div class="darkroom-figure" role="group" tabindex="0"></div>
<p class="darkroom-figure-said" role="status"></p>
<p class="darkroom-figure-error" hidden></p>"""
STYLE = """.darkroom-figure { width: 100%; }
.darkroom-figure:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; }
.darkroom-figure-said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.darkroom-figure-error { color: var(--st-red-text-color); }"""

_mount = components.component(
    "darkroom_figure",
    html=FRAME,
    css=STYLE,
    js=SCRIPT.read_text(encoding="utf-8"),
    isolate_styles=False,  # Plotly writes its CSS into the document's head, which a shadow root does not see
)


def show_figure(figure: Figure, *, key: str, group: str, label: str, file_name: str) -> int | None:
    """Show a figure of `dashboard.charts`; returns the step of a point just clicked.

    Args:
        figure: its layout carries the height.
        key: unique on the page.
        group: figures with the same group share their axis; another group starts with a fresh view.
        label: what the chart shows, for screen readers.
        file_name: of a saved picture.
    """

    def note_window() -> None:
        ends = st.session_state[key].get("window")
        st.session_state[WINDOW] = (group, tuple(ends) if ends else None)

    data = {"figure": figure, "group": group, "label": label, "fileName": file_name, "plotly": PLOTLY_URL}
    height = int(figure["layout"]["height"])
    result: Any = _mount(key=key, data=data, height=height, on_window_change=note_window, on_picked_change=lambda: None)
    return int(result.picked) if result.picked is not None else None


def window_of(group: str) -> tuple[float, float] | None:
    """The zoomed part of a group's axis; None is all of it."""
    known, ends = st.session_state.get(WINDOW, ("", None))
    return (float(ends[0]), float(ends[1])) if known == group and ends else None
