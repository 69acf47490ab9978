"""The chart of what snapshots gain against what they cost."""

from __future__ import annotations

import base64

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.frontier import frontier_figure
from shared.run_folder.metric_descriptions import Column, Ratio
from tests.dashboard.charts.test_charts import with_real_colors

PRICE = Column(
    name="a_price",
    label="price",
    meaning="",
    direction="lower",
    role="shown",
    ratio=Ratio(of="a", over="b"),
    of_probes=True,
    price_limit=1.0,
)
TABLE = pd.DataFrame(
    {"step": [0, 10, 20, 30], "composite": [np.nan, -0.5, -0.75, np.nan], "a_price": [0.0, 0.25, 0.5, 1.5]}
)


def numbers(trace: dict, key: str) -> list[float]:
    return np.frombuffer(base64.b64decode(trace[key]["bdata"]), trace[key]["dtype"]).tolist()


def test_every_snapshot_with_both_numbers_is_a_point_and_the_chosen_one_has_a_star() -> None:
    figure = frontier_figure(TABLE, [PRICE], 20)
    assert figure
    points, star = figure["data"]
    assert list(zip(points["text"], numbers(points, "x"), numbers(points, "y"), strict=True)) == [
        ("0", 0.0, 0.0),
        ("10", 0.25, -0.5),
        ("20", 0.5, -0.75),
    ]
    assert (star["marker"]["symbol"], numbers(star, "x"), numbers(star, "customdata")) == ("star", [0.5], [20])
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == [1.0], "a line where nothing is left"
    low, high = figure["layout"]["xaxis"]["range"]
    assert low < 0
    assert high > 1, "all prices and the line are seen"
    go.Figure(with_real_colors(figure))


def test_without_a_snapshot_that_has_both_there_is_no_chart() -> None:
    assert frontier_figure(TABLE[TABLE["step"] == 0], [PRICE], None) is None
    assert frontier_figure(TABLE.drop(columns="a_price"), [PRICE], None) is None
