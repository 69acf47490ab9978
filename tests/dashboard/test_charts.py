from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from dashboard import charts, series
from dashboard.reader import RunReader
from examples.fake_run import FakeRun
from shared.tables import METRIC_COLUMNS, TRAIN_COLUMNS


def train_table(steps: list[int], loss: list[float]) -> pd.DataFrame:
    table = pd.DataFrame({"step": np.array(steps, float), "loss": loss}).reindex(columns=list(TRAIN_COLUMNS))
    return table.assign(learning_rate=1e-4, process_rss_mib=2048.0)


def metric_table(**columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame(columns).reindex(columns=list(METRIC_COLUMNS))


def unpacked(packed: dict[str, str]) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(packed["bdata"]), packed["dtype"])


def trace(figure: charts.Figure, name: str) -> charts.Trace:
    return next(found for found in figure["data"] if found["name"] == name)


def with_real_colors(figure: charts.Figure) -> charts.Figure:
    """As the browser does: the names of CSS variables become colours."""
    return json.loads(json.dumps(figure).replace("--st-gray-text-color", "gray"), object_hook=_colored)


def _colored(node: dict[str, Any]) -> dict[str, Any]:
    def replace(value: Any) -> Any:
        if isinstance(value, list):
            return [replace(item) for item in value]
        return "red" if isinstance(value, str) and value.startswith("--st-") else value

    return {key: replace(value) for key, value in node.items()}


def test_every_figure_is_one_that_plotly_accepts(finished: FakeRun) -> None:
    reader = RunReader(finished.run, finished.record.run_id)
    events = charts.Events(snapshots=[40], evaluated=[40], failed={80: "why"}, stops={66: "asked by somebody"})
    for figure in (
        charts.training_figure(reader.train(), events, span=20, last_step=200),
        charts.quality_figure(reader.metrics(), 40, reader.blanks(), last_step=200),
    ):
        go.Figure(with_real_colors(figure))


def test_thinning_keeps_a_single_spike_among_a_million() -> None:
    steps, values = np.arange(1_000_000.0), np.random.default_rng(0).random(1_000_000)
    values[654_321] = 9.0
    kept_steps, kept = series.thin(steps, values)
    assert len(kept) <= series.MAX_POINTS
    assert kept_steps[np.argmax(kept)] == 654_321


def test_a_line_never_runs_backwards_where_a_run_was_resumed() -> None:
    steps = np.array([1.0, 2, 3, 4, 3, 4, 5])
    kept_steps, kept = series.thin(steps, np.arange(7.0))
    blank = int(np.flatnonzero(np.isnan(kept))[0])
    assert kept_steps[:blank].tolist() == [1, 2, 3, 4]
    assert kept_steps[blank + 1 :].tolist() == [3, 4, 5]


def test_points_without_a_number_are_left_out_of_the_line() -> None:
    steps, values = series.thin(np.array([1.0, 2, 3]), np.array([1.0, np.nan, 3.0]))
    assert (steps.tolist(), values.tolist()) == ([1, 3], [1, 3])
    assert series.thin(np.array([1.0]), np.array([np.nan]))[0].size == 0


def test_the_moving_average_starts_unbiased_and_anew_after_a_resume() -> None:
    average = series.moving_average(np.array([1.0, 2, 3, 2, 3]), np.array([4.0, 4, 4, 8, 8]), span=10)
    assert average.tolist() == pytest.approx([4, 4, 4, 8, 8])


def test_a_loss_that_is_not_finite_is_marked_not_hidden() -> None:
    figure = charts.training_figure(train_table([1, 2, 3], [0.1, np.nan, 0.2]), charts.Events(), span=10, last_step=3)
    assert unpacked(trace(figure, "loss")["x"]).tolist() == [2]


def test_memory_is_the_gpus_where_there_is_one_and_else_the_process() -> None:
    table = train_table([1, 2], [0.1, 0.2])
    on_cpu = charts.training_figure(table, charts.Events(), span=10, last_step=2)
    assert unpacked(trace(on_cpu, "resident")["y"]).tolist() == [2.0, 2.0]
    on_gpu = charts.training_figure(table.assign(gpu_allocated_mib=1024.0), charts.Events(), span=10, last_step=2)
    assert unpacked(trace(on_gpu, "allocated")["y"]).tolist() == [1.0, 1.0]
    assert "resident" not in [found["name"] for found in on_gpu["data"]]


def test_a_difference_is_coloured_only_where_its_interval_excludes_zero() -> None:
    table = metric_table(
        step=[0, 10, 20, 30],
        visual_loss=[0.5, 0.4, 0.6, 0.5],
        visual_loss_delta=[np.nan, -0.1, 0.1, 0.0],
        visual_loss_low=[np.nan, -0.15, 0.05, -0.1],
        visual_loss_high=[np.nan, -0.05, 0.15, 0.1],
    )
    points = trace(charts.quality_figure(table, None, {}, 30), "visual loss")
    assert points["marker"]["color"] == [charts.GRAY, charts.GREEN, charts.RED, charts.GRAY]
    assert unpacked(points["y"]).tolist() == pytest.approx([0, -0.1, 0.1, 0])
    assert points["text"][1] == "−0.100 [−0.150, −0.050], value 0.400"


def test_more_is_better_for_the_text_score() -> None:
    table = metric_table(step=[10], clip_t=[0.3], clip_t_delta=[0.1], clip_t_low=[0.05], clip_t_high=[0.15])
    assert trace(charts.quality_figure(table, None, {}, 10), "CLIP text score")["marker"]["color"] == [charts.GREEN]


def test_the_best_snapshot_is_starred_on_every_metric_it_has(finished: FakeRun) -> None:
    reader = RunReader(finished.run, finished.record.run_id)
    best = reader.best()
    assert best
    figure = charts.quality_figure(reader.metrics(), best.step, {}, 200)
    stars = [found for found in figure["data"] if found["name"] == "best"]
    assert [unpacked(star["x"]).tolist() for star in stars] == [[best.step]] * 4


def test_reasons_reach_the_chart_escaped() -> None:
    figure = charts.quality_figure(metric_table(step=[10]), None, {"color_loss": {10: "<b>no</b> garment"}}, 10)
    assert trace(figure, "color loss: no value")["text"] == ["&lt;b&gt;no&lt;/b&gt; garment"]


def test_trace_ids_are_unique_and_fit_for_css(finished: FakeRun) -> None:
    reader = RunReader(finished.run, finished.record.run_id)
    for figure in (
        charts.training_figure(reader.train(), charts.Events(stops={1: "x"}, failed={2: "y"}), 20, 200),
        charts.quality_figure(reader.metrics(), 40, reader.blanks(), 200),
    ):
        uids = [found["uid"] for found in figure["data"]]
        assert len(set(uids)) == len(uids)
        assert all(uid.replace("-", "").replace("_", "").isalnum() for uid in uids)
