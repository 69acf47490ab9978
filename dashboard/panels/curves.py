"""What the trainer reports beside what the evaluator finds, over the same axis, as a person wants to see it."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard import url_state
from dashboard.charts.axis import X_KINDS, Look, XAxis, XKind, images_per_step, x_axis
from dashboard.charts.parts import Figure, Part
from dashboard.charts.quality import quality_figure
from dashboard.charts.training import Events, training_figure
from dashboard.components.figure import show_figure, window_of
from dashboard.data import alert_texts
from dashboard.data.events import pauses, typical
from dashboard.data.reader import RunReader
from dashboard.panels import failing_alone, refreshed
from dashboard.panels.waiting import wait_for_evaluation, wait_for_training
from dashboard.text.language import current, say

SPANS_PER_RUN = 30
SPANS = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000]
X_NAMES: dict[XKind, str] = {
    "step": "steps",
    "images": "images",
    "epoch": "epochs",
    "wall": "time of day",
    "relative": "duration",
}
CHART_PIXELS, TYPICAL_STEPS = 600, 100
MIN_SECONDS, MAX_SECONDS = 2.0, 30.0
OPTIONS = {"log-x": "log x", "log-y": "log y", "clip": "clip outliers", "anchors": "anchors"}


def drawing_seconds(reader: RunReader) -> float:
    """The time in which the curves grow by a pixel."""
    usual = typical(reader.train()["step_seconds"].tail(TYPICAL_STEPS).to_numpy())
    return min(MAX_SECONDS, max(MIN_SECONDS, usual * reader.last_step() / CHART_PIXELS))


@refreshed("train", "metrics", "evaluations", "snapshots", "requests", "settings", seconds=drawing_seconds)
def curves_panel(reader: RunReader) -> None:
    """The losses and the composite; all other curves and how they are drawn are folded. A click on a point of quality
    opens its pictures."""
    settle_look(reader)
    place = st.container(key="first_curves")
    everything = st.expander(
        say("All curves: axis, smoothing, scales"),
        expanded=st.session_state.get("curves", False),
        key="curves_open",
        on_change=remember_curves,
    )
    if everything.open:
        with everything:
            choose_look(reader)
    look = chosen_look()
    last_step = axis_end(max(reader.last_step(), *reader.evaluated_steps(), 1), reader.config.train.max_train_steps)
    group = f"{reader.run_id}-{look.view()}"
    look = replace(look, window=window_of(group))
    with place:
        clicked = [show_pair(reader, look, group, last_step, "first")]
    if everything.open:
        with everything:
            clicked.append(show_pair(reader, look, group, last_step, "further"))
    for step in clicked:
        if step is not None:
            st.session_state["step"] = step
            st.switch_page("views/samples.py")


def remember_curves() -> None:
    """Whether all curves are shown belongs to the address."""
    st.session_state["curves"] = st.session_state["curves_open"]
    url_state.write()


def show_pair(reader: RunReader, look: Look, group: str, last_step: int, part: Part) -> int | None:
    """One part of both figures beside each other; returns a step that was clicked."""
    training, quality = st.columns(2, gap="medium")
    with training, failing_alone("training curves"):
        show_training(reader, look, group, last_step, part)
    with quality, failing_alone("quality curves"):
        return show_quality(reader, look, group, last_step, part)
    return None


def settle_look(reader: RunReader) -> None:
    """Axis, smoothing and scales, all of it in the address, whether or not it is shown."""
    url_state.settle("x", [*X_KINDS], "step")
    url_state.settle("smoothing", SPANS, default_span(reader.config.train.max_train_steps))
    url_state.settle("scales", [*OPTIONS], [])


def choose_look(reader: RunReader) -> Look:
    """What is settled can be changed."""
    settle_look(reader)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="look"):
        st.segmented_control(
            say("Horizontal axis"),
            X_KINDS,
            required=True,
            key="x",
            persist_state="session",
            on_change=url_state.write,
            format_func=lambda kind: say(X_NAMES[kind]),
            width="content",
        )
        st.select_slider(
            say("Smoothing"),
            SPANS,
            key="smoothing",
            persist_state="session",
            on_change=url_state.write,
            format_func=lambda steps: say("off") if steps == 1 else say("{count} steps", count=steps),
            width=300,
        )
        st.pills(
            say("Scales"),
            OPTIONS,
            selection_mode="multi",
            key="scales",
            persist_state="session",
            on_change=url_state.write,
            format_func=lambda option: say(OPTIONS[option]),
            width="content",
        )
    return chosen_look()


def chosen_look() -> Look:
    """As it is settled now."""
    options = st.session_state["scales"]
    return Look(
        st.session_state["x"] or "step",
        "log-x" in options,
        "log-y" in options,
        "clip" in options,
        "anchors" in options,
        st.session_state["smoothing"],
    )


def axis_end(last_step: int, max_train_steps: int) -> int:
    """A little past the last step, not past the last one planned: an axis that always grows is always drawn anew."""
    unit = 10 ** max(0, len(str(last_step)) - 2)
    return max(last_step, min(max_train_steps, -(-last_step // unit) * unit))


def default_span(max_train_steps: int) -> int:
    """A thirtieth of the run."""
    return min(SPANS, key=lambda span: abs(span - max(10, max_train_steps / SPANS_PER_RUN)))


def axis_of(reader: RunReader, look: Look) -> XAxis:
    """The axis of a run."""
    train, settings = reader.train(), reader.config.train
    configured = settings.train_batch_size * settings.gradient_accumulation_steps
    return x_axis(train, look.x, look.log_x, images_per_step(train, configured), resumes_of(reader))


def resumes_of(reader: RunReader) -> dict[int, str]:
    """Where training went on after a pause."""
    train, stops = reader.train(), reader.stops()
    return reader.keep(("pauses", len(train), *stops, current()), lambda: pauses(train, stops))


def show_training(reader: RunReader, look: Look, group: str, last_step: int, part: Part) -> None:
    """train.csv and validation.csv with the run's events."""
    train = reader.train()
    if train.empty:
        if part == "first":
            wait_for_training(reader, say("Waiting for the first step …"))
        return
    events = events_of(reader)
    version = ("training", part, len(train), len(reader.validation()), str(events), look, last_step, current())
    figure = reader.keep(version, lambda: make_training(reader, events, look, last_step, part))
    label = say("{run}: training curves up to step {step}", run=reader.name, step=reader.last_step())
    show_figure(figure, key=f"training_figure_{part}", group=group, label=label, file_name=f"{reader.name}-training")


def make_training(reader: RunReader, events: Events, look: Look, last_step: int, part: Part) -> Figure:
    """The figure, anew."""
    axis = axis_of(reader, look)
    return training_figure(reader.train(), reader.validation(), events, axis, look, last_step, part)


def events_of(reader: RunReader) -> Events:
    """What happened beside training."""
    failed, best = reader.failures(), reader.best()
    stops = {step: say("stopped by {who}", who=who) for step, who in reader.stops().items()}
    changes = {
        change.step: f"{change.key}: {change.before} → {change.after}" for change in reader.run.read_record().changes
    }
    return Events(
        alerts=alert_texts.of_steps(reader),
        snapshots=reader.snapshot_steps(),
        evaluated=[step for step in reader.drawn_steps() if step not in failed],
        failed=failed,
        stops=stops,
        resumes={**resumes_of(reader), **changes},
        best=best.step if best else None,
    )


def show_quality(reader: RunReader, look: Look, group: str, last_step: int, part: Part) -> int | None:
    """metrics.csv as differences to the base model; returns a step that was clicked."""
    metrics, best = reader.metrics(), reader.best()
    if metrics.empty:
        if part == "first":
            wait_for_evaluation(reader, say("Waiting for the first evaluation …"))
        return None
    best_step = best.step if best else None
    version = ("quality", part, reader.metrics_version(), len(reader.train()), best_step, look, last_step, current())
    figure = reader.keep(version, lambda: make_quality(reader, best_step, look, last_step, part))
    label = say("{run}: quality of each evaluated snapshot vs base model", run=reader.name)
    return show_figure(
        figure, key=f"quality_figure_{part}", group=group, label=label, file_name=f"{reader.name}-quality"
    )


def make_quality(reader: RunReader, best_step: int | None, look: Look, last_step: int, part: Part) -> Figure:
    """The figure, anew."""
    axis = axis_of(reader, look)
    missing, anchors = reader.missing(), reader.anchors()
    return quality_figure(
        reader.metrics(), reader.descriptions, best_step, missing, axis, look, last_step, anchors, part
    )
