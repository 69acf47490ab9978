from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from dashboard.charts.axis import X_KINDS, Look, XAxis, images_per_step, x_axis
from dashboard.charts.overlay import Run, overlay_figure
from dashboard.charts.parts import GRAY, GREEN, RED, Figure, Trace
from dashboard.charts.quality import difference_trace, differences, quality_figure
from dashboard.charts.training import Events, training_figure
from dashboard.data import series
from dashboard.data.reader import VALIDATION_COLUMNS, RunReader
from dashboard.story.curves import axis_end
from examples.fake_run.run import FakeRun
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.tables import TRAIN_COLUMNS

STEP = XAxis()


def train_table(steps: list[int], loss: list[float], **columns: Any) -> pd.DataFrame:
    table = pd.DataFrame({"step": np.array(steps, float), "loss": loss}).reindex(columns=list(TRAIN_COLUMNS))
    return table.assign(learning_rate=1e-4, process_rss_mib=2048.0, **columns).astype("float64")


def metric_table(**columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame(columns).reindex(columns=list(OLDER_METRICS.header))


def validation_table(**columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame(columns).reindex(columns=list(VALIDATION_COLUMNS)).astype("float64")


def training(table: pd.DataFrame, look: Look | None = None, axis: XAxis = STEP, **rest: Any) -> Figure:
    last_step = int(table["step"].max())  # pyright: ignore
    validation = rest.get("validation", validation_table())
    return training_figure(table, validation, rest.get("events", Events()), axis, look or Look(span=10), last_step)


def test_the_speed_is_that_of_pictures_or_of_examples_of_another_kind() -> None:
    table, look = train_table([1, 2], [1.0, 0.9], samples_per_second=[4.0, 4.1]), Look(span=10)
    for of_pictures, name in ((True, "pictures per second"), (False, "examples per second")):
        figure = training_figure(table, validation_table(), Events(), STEP, look, 2, of_pictures=of_pictures)
        assert name in titles(figure)


def unpacked(packed: dict[str, str]) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(packed["bdata"]), packed["dtype"])


def trace(figure: Figure, name: str) -> Trace:
    return next(found for found in figure["data"] if found["name"] == name)


def titles(figure: Figure) -> list[str]:
    return [note["text"] for note in figure["layout"]["annotations"]]


def with_real_colors(figure: Figure) -> Figure:
    """As the browser does: the names of CSS variables become colours."""
    return json.loads(json.dumps(figure).replace("--st-gray-text-color", "gray"), object_hook=_colored)


def _colored(node: dict[str, Any]) -> dict[str, Any]:
    def replace(value: Any) -> Any:
        if isinstance(value, list):
            return [replace(item) for item in value]
        return "red" if isinstance(value, str) and value.startswith("--st-") else value

    return {key: replace(value) for key, value in node.items()}


@pytest.fixture
def reader(finished: FakeRun) -> RunReader:
    return RunReader(finished.run, finished.record.run_id)


@pytest.mark.parametrize("kind", X_KINDS)
def test_every_figure_is_one_that_plotly_accepts_on_every_axis(reader: RunReader, kind: Any) -> None:
    events = Events([40], [40], {80: "why"}, {66: "asked by somebody"}, {67: "resumed"}, {90: "hot"}, best=40)
    axis = x_axis(reader.train(), kind, True, 4)
    look = Look(x=kind, log_x=True, log_y=True, clip=True, anchors=True)
    anchors = {"visual_loss": {"shuffled": 0.6, "real": 0.1}}
    for figure in (
        training_figure(reader.train(), reader.validation(), events, axis, look, last_step=200),
        quality_figure(reader.metrics(), reader.descriptions, 40, reader.missing(), axis, look, 200, anchors),
        overlay_figure(
            [Run("a", reader.train(), reader.validation(), reader.metrics(), axis, reader.descriptions)], look
        ),
    ):
        go.Figure(with_real_colors(figure))
        uids = [found["uid"] for found in figure["data"]]
        assert len(set(uids)) == len(uids)
        assert all(uid.replace("-", "").replace("_", "").isalnum() for uid in uids)


def test_thinning_keeps_a_single_spike_among_a_million() -> None:
    steps, values = np.arange(1_000_000.0), np.random.default_rng(0).random(1_000_000)
    values[654_321] = 9.0
    kept_steps, kept = series.thin(steps, values)
    assert len(kept) <= series.MAX_POINTS
    assert kept_steps[np.argmax(kept)] == 654_321


def test_a_line_never_runs_backwards_nor_over_a_pause() -> None:
    steps = np.array([1.0, 2, 3, 4, 3, 4, 5])
    kept_steps, kept = series.thin(steps, np.arange(7.0))
    blank = int(np.flatnonzero(np.isnan(kept))[0])
    assert kept_steps[:blank].tolist() == [1, 2, 3, 4]
    assert kept_steps[blank + 1 :].tolist() == [3, 4, 5]
    kept_steps, kept = series.thin(np.arange(6.0), np.arange(6.0), breaks=[3.0])
    assert kept_steps[np.isfinite(kept)].tolist() == [0, 1, 2, 3, 4, 5]
    assert np.flatnonzero(np.isnan(kept)).tolist() == [3]


def test_points_without_a_number_are_left_out_of_the_line() -> None:
    steps, values = series.thin(np.array([1.0, 2, 3]), np.array([1.0, np.nan, 3.0]))
    assert (steps.tolist(), values.tolist()) == ([1, 3], [1, 3])
    assert series.thin(np.array([1.0]), np.array([np.nan]))[0].size == 0


def test_the_moving_average_starts_unbiased_and_anew_after_a_resume() -> None:
    average = series.moving_average(np.array([1.0, 2, 3, 2, 3]), np.array([4.0, 4, 4, 8, 8]), span=10)
    assert average.tolist() == pytest.approx([4, 4, 4, 8, 8])
    paused = series.moving_average(np.array([1.0, 2, 3, 4]), np.array([4.0, 4, 8, 8]), span=10, breaks=[3])
    assert paused.tolist() == pytest.approx([4, 4, 8, 8])


def test_the_moving_average_is_the_bias_corrected_exponential_one() -> None:
    values, alpha = np.array([1.0, 5.0, 2.0]), 2 / (9 + 1)
    expected, moment, weight = [], 0.0, 0.0
    for value in values:
        moment, weight = (1 - alpha) * moment + alpha * value, (1 - alpha) * weight + alpha
        expected.append(moment / weight)
    assert series.moving_average(np.arange(3.0), values, span=9).tolist() == pytest.approx(expected)


def test_where_there_is_no_number_there_is_no_average() -> None:
    values = np.array([1.0, np.nan, np.inf, 3.0, np.nan])
    average = series.moving_average(np.arange(5.0), values, span=3)
    assert np.isfinite(average).tolist() == [True, False, False, True, False]
    assert 1 < average[3] < 3


def test_zooming_brings_back_every_point_of_the_window() -> None:
    steps = list(range(1, 100_001))
    table = train_table(steps, np.random.default_rng(1).random(100_000).tolist())
    whole = unpacked(trace(training(table), "each step")["x"])
    close = unpacked(trace(training(table, Look(span=1, window=(500.0, 700.0))), "each step")["x"])
    assert len(whole) <= series.MAX_POINTS
    assert set(range(500, 701)) <= set(close.tolist())
    assert len(close) < 500


def test_a_loss_that_is_not_finite_is_marked_not_hidden() -> None:
    figure = training(train_table([1, 2, 3], [0.1, np.nan, 0.2]))
    assert unpacked(trace(figure, "loss")["x"]).tolist() == [2]


def test_what_a_logarithm_cannot_show_is_counted_in_the_title() -> None:
    figure = training(train_table([1, 2, 3], [0.1, 0.0, -0.2]), Look(span=1, log_y=True))
    assert titles(figure)[0] == "training loss, values ≤ 0 not shown: 2"
    assert unpacked(trace(figure, "each step")["y"]).tolist() == pytest.approx([0.1])


def test_clipping_changes_the_view_only_and_says_how_much_is_outside() -> None:
    loss = [0.1 + 0.001 * (step % 7) for step in range(200)]
    loss[50] = 40.0
    figure = training(train_table(list(range(1, 201)), loss), Look(span=1, clip=True))
    assert titles(figure)[0] == "training loss, points outside: 1"
    assert figure["layout"]["yaxis"]["range"][1] < 1
    assert unpacked(trace(figure, "each step")["y"]).max() == 40.0


def test_memory_is_the_gpus_where_there_is_one_and_else_the_process() -> None:
    table = train_table([1, 2], [0.1, 0.2])
    assert unpacked(trace(training(table), "resident")["y"]).tolist() == [2.0, 2.0]
    on_gpu = training(table.assign(gpu_allocated_mib=1024.0))
    assert unpacked(trace(on_gpu, "allocated")["y"]).tolist() == [1.0, 1.0]
    assert "resident" not in [found["name"] for found in on_gpu["data"]]


def test_validation_loss_stands_beside_the_gap_only_where_it_is_measured() -> None:
    table = train_table([1, 2], [0.1, 0.2])
    assert "validation loss" not in titles(training(table))
    measured = validation_table(step=[1, 2], held_out_loss=[0.3, 0.4], train_probe_loss=[0.2, 0.2], gap=[0.1, 0.2])
    figure = training(table, validation=measured)
    assert unpacked(trace(figure, "held out")["y"]).tolist() == pytest.approx([0.3, 0.4])
    assert unpacked(trace(figure, "gap")["y"]).tolist() == pytest.approx([0.1, 0.2])


def test_events_are_drawn_through_all_panels_and_in_a_lane() -> None:
    events = Events([2], [2], {3: "broken"}, {1: "asked by x"}, {2: "resumed"}, {3: "hot"}, best=2)
    figure = training(train_table([1, 2, 3], [0.1, 0.1, 0.1]), events=events)
    assert sorted(shape["x0"] for shape in figure["layout"]["shapes"]) == [1, 2, 3]
    names = {"snapshot", "evaluation", "evaluation failed", "stop", "resume", "alert", "best"}
    assert names <= {found["name"] for found in figure["data"]}


def test_steps_stand_where_time_epochs_and_images_say() -> None:
    table = train_table([1, 2, 3], [0.1] * 3, epoch=[0.5, 1.0, 1.5], timestamp=[1000.0, 1010.0, 4600.0])
    at = {kind: x_axis(table, kind, False, 8).at(np.array([1.0, 3.0])).tolist() for kind in X_KINDS}
    assert at["step"] == [1, 3]
    assert at["images"] == [8, 24]
    assert at["epoch"] == [0.5, 1.5]
    assert at["wall"] == [1_000_000, 4_600_000]
    assert at["relative"] == [0, 1]
    first, last = x_axis(table, "relative", True, 8).layout(3)["range"]
    assert 10**first == pytest.approx(10 / 3600), "0 has no logarithm: the second step is the first place"
    assert 10**last == pytest.approx(1.05)


def test_images_per_step_are_those_of_all_processes() -> None:
    table = train_table([1, 2], [0.1, 0.1], samples_per_second=[31.9, 32.1], step_seconds=[1.0, 1.0])
    assert images_per_step(table, configured=8) == 32
    assert images_per_step(train_table([1], [0.1]), configured=8) == 8


def test_a_difference_is_coloured_only_where_its_interval_excludes_zero() -> None:
    table = metric_table(
        step=[0, 10, 20, 30],
        visual_loss=[0.5, 0.4, 0.6, 0.5],
        visual_loss_delta=[np.nan, -0.1, 0.1, 0.0],
        visual_loss_low=[np.nan, -0.15, 0.05, -0.1],
        visual_loss_high=[np.nan, -0.05, 0.15, 0.1],
    )
    points = trace(quality_figure(table, OLDER_METRICS, None, {}, STEP, Look(), 30), "visual loss")
    assert unpacked(points["marker"]["color"]).tolist() == [0, -1, 1, 0]
    assert [color for _, color in points["marker"]["colorscale"]] == [GREEN, GRAY, RED]
    assert unpacked(points["y"]).tolist() == pytest.approx([0, -0.1, 0.1, 0])
    assert unpacked(points["customdata"]).tolist() == [0, 10, 20, 30]
    assert points["text"][1] == "−0.100 [−0.150, −0.050], value 0.400"


def test_an_interval_that_says_nothing_has_no_whisker_and_is_said_in_words() -> None:
    width = {"clip_t_low": [-3.0], "clip_t_high": [2.0]}
    table = metric_table(step=[10], clip_t=[0.3], clip_t_delta=[-0.5], **width)
    limited = next(one for one in OLDER_METRICS.compared if one.name == "clip_t").model_copy(update={"span": 2.0})
    points = difference_trace(differences(table, "clip_t"), limited, STEP, -1)
    assert np.isnan(unpacked(points["error_y"]["array"])).all()
    assert points["text"] == ["−0.500 unknown with so few prompts, value 0.300"]


def test_among_many_only_what_the_evaluator_is_sure_of_is_coloured() -> None:
    values = {"visual_loss": 0.4, "visual_loss_delta": -0.1, "visual_loss_low": -0.15, "visual_loss_high": -0.05}
    table = metric_table(step=[10, 20, 30], **{name: [value] * 3 for name, value in values.items()})
    table["composite"], table["composite_low"], table["composite_high"] = -0.1, -0.15, -0.05
    table["sure"] = ["composite visual_loss", "composite", "none"]
    figure = quality_figure(table, OLDER_METRICS, None, {}, STEP, Look(), 30)
    assert unpacked(trace(figure, "visual loss")["marker"]["color"]).tolist() == [-1, 0, 0]
    assert unpacked(trace(figure, "composite")["marker"]["color"]).tolist() == [-1, -1, 0]


def test_more_is_better_for_the_text_score() -> None:
    table = metric_table(step=[10], clip_t=[0.3], clip_t_delta=[0.1], clip_t_low=[0.05], clip_t_high=[0.15])
    points = trace(quality_figure(table, OLDER_METRICS, None, {}, STEP, Look(), 10), "CLIP text score")
    assert unpacked(points["marker"]["color"]).tolist() == [-1]


def test_a_lower_text_score_is_not_worse_where_real_pictures_score_lower_too() -> None:
    delta = {"clip_t_delta": [0.0, -0.4], "clip_t_low": [0.0, -0.5], "clip_t_high": [0.0, -0.3]}
    table = metric_table(step=[0.0, 10.0], clip_t=[0.8, 0.4], **delta)
    figure = quality_figure(table, OLDER_METRICS, None, {}, STEP, Look(), 10, {"clip_t": {"real": 0.35}})
    assert unpacked(trace(figure, "CLIP text score")["marker"]["color"]).tolist() == [0, 0]
    assert "CLIP text score vs base model (real pictures score lower too)" in titles(figure)
    evaluated = quality_figure(table, OLDER_METRICS, None, {}, STEP, Look(), 10, {"clip_t": {"real": 0.9}})
    assert unpacked(trace(evaluated, "CLIP text score")["marker"]["color"]).tolist() == [0, 1]


def test_values_without_a_comparison_get_small_charts_of_their_own() -> None:
    table = metric_table(step=[0.0, 10.0]).assign(drift=[np.nan, 0.3], copy_max=np.nan)
    figure = quality_figure(table, OLDER_METRICS, None, {}, STEP, Look(), 10)
    assert unpacked(trace(figure, "drift")["y"]).tolist() == pytest.approx([0.3])
    assert unpacked(trace(figure, "drift")["customdata"]).tolist() == [10]
    assert not [title for title in titles(figure) if title.startswith("similarity to the nearest training picture")]


def test_anchors_stand_on_the_scale_of_differences() -> None:
    table = metric_table(step=[0.0, 10.0], visual_loss=[0.5, 0.4])
    anchors = {"visual_loss": {"step_0": 0.5, "shuffled": 0.6, "real": 0.1}}
    figure = quality_figure(table, OLDER_METRICS, None, {}, STEP, Look(anchors=True), 10, anchors)
    assert [shape["y0"] for shape in figure["layout"]["shapes"]] == pytest.approx([0.1, -0.4])
    assert quality_figure(table, OLDER_METRICS, None, {}, STEP, Look(), 10, anchors)["layout"]["shapes"] == []


def test_the_best_snapshot_is_starred_on_every_metric_it_has(reader: RunReader) -> None:
    best = reader.best()
    assert best
    figure = quality_figure(reader.metrics(), reader.descriptions, best.step, {}, STEP, Look(), 200)
    stars = [found for found in figure["data"] if found["name"] == "best"]
    assert [unpacked(star["x"]).tolist() for star in stars] == [[best.step]] * 5


def test_reasons_reach_the_chart_escaped() -> None:
    missing = {"color_loss": {10: "<b>no</b> garment"}}
    figure = quality_figure(metric_table(step=[10]), OLDER_METRICS, None, missing, STEP, Look(), 10)
    assert trace(figure, "color loss: no value")["text"] == ["&lt;b&gt;no&lt;/b&gt; garment"]


@pytest.mark.parametrize(
    ("last_step", "planned", "end"),
    [(1, 900, 1), (99, 900, 99), (137, 900, 140), (1234, 9000, 1300), (1234, 1250, 1250), (905, 900, 905)],
)
def test_the_axis_ends_at_a_round_step_or_the_last_one_planned(last_step: int, planned: int, end: int) -> None:
    assert axis_end(last_step, planned) == end


def test_what_a_task_measures_beside_the_known_losses_has_a_panel_of_its_own() -> None:
    table = validation_table(step=[0, 2, 4]).assign(slope=[0.1, 0.5, 0.9], rows=8)
    figure = training(train_table([1, 2, 3, 4], [1, 1, 1, 1]), validation=table)
    assert "slope" in titles(figure)
    assert "rows" not in titles(figure), "it is always the same"
    assert "validation loss" not in titles(figure)
