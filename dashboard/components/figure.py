"""A Plotly figure that keeps zoom and legend while its data changes.

`st.plotly_chart` creates a new chart for new data (its element id is a hash of the data, streamlit issue 8782), and
Streamlit sends everything again at every tick. Python therefore says only where the figure is: `chart.js` asks for it
when the run has changed and somebody looks, and `figure.js` calls `Plotly.react` on the existing chart. Figures of one
group share their axis: zooming one zooms all, and brings the full detail of the window. A double click resets the view.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dashboard.charts.parts import FIRST_PIXELS, MARGIN
from dashboard.components.module import module_component
from dashboard.server.files import PLOTLY_URL

SCRIPT, STYLE = (Path(__file__).with_name(name) for name in ("figure.js", "figure.css"))

FRAME = """<div class="darkroom-figure" role="group" tabindex="0"></div>
<p class="darkroom-figure-said" role="status"></p>
<p class="darkroom-figure-error" hidden></p>"""
HEIGHT = FIRST_PIXELS + MARGIN["t"] + MARGIN["b"]  # of the first charts

_mount = module_component(
    "chart", "chart.js", f'<div class="darkroom-chart">{FRAME}<p class="darkroom-figure-absent" hidden></p></div>'
)


def show_chart(
    url: str, *, run: str, parts: Sequence[str], group: str, file_name: str, key: str, height: int = 0
) -> int | None:
    """Show a chart; returns the step of a point just clicked.

    Args:
        url: of its figure, see `dashboard.server.figures`.
        run: that the bar shows.
        parts: of the run's folder; when one of them has changed, the figure is asked for again.
        group: figures with the same group share their axis; another group starts with a fresh view.
        file_name: of a saved picture.
        key: unique on the page.
        height: in pixels, of the figure, where it is known already: its place is kept, so that nothing below it moves.
    """
    data = {"url": url, "run": run, "parts": [*parts], "group": group, "fileName": file_name}
    data |= {"plotly": PLOTLY_URL, "height": height or HEIGHT}
    result: Any = _mount(key=key, data=data, height=height or "content", on_picked_change=lambda: None)
    return int(result.picked) if result.picked is not None else None
