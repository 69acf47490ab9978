"""A Plotly figure that keeps zoom and legend while its data changes.

`st.plotly_chart` makes a new chart for new data (its element id is a hash of the data, streamlit issue 8782); this
component calls `Plotly.react` on the one that is there. Figures of one group share their step axis: zooming one zooms
all. A double click resets the view.
"""

from __future__ import annotations

from pathlib import Path

from streamlit.components import v2 as components

from dashboard.charts import Figure
from dashboard.files import PLOTLY_URL

_mount = components.component(
    "darkroom_figure",
    html='<div class="darkroom-figure" role="img"></div>\n<p class="darkroom-figure-error" hidden></p>',
    css=".darkroom-figure { width: 100%; }\n.darkroom-figure-error { color: var(--st-red-text-color); }",
    js=Path(__file__).with_name("figure.js").read_text(encoding="utf-8"),
    isolate_styles=False,  # Plotly writes its CSS into the document's head, which a shadow root does not see
)


def show_figure(figure: Figure, *, key: str, group: str, label: str) -> None:
    """Show a figure of `dashboard.charts`.

    Args:
        figure: its layout carries the height.
        key: unique on the page.
        group: figures with the same group share their step axis; another group starts with a fresh view.
        label: what the chart shows, for who cannot see it; also the name of a saved picture.
    """
    data = {"figure": figure, "group": group, "label": label, "plotly": PLOTLY_URL}
    _mount(key=key, data=data, height=int(figure["layout"]["height"]))
