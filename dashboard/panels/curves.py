"""What the trainer reports beside what the evaluator finds, over the same axis, as a person wants to see it."""

from __future__ import annotations

import streamlit as st

from dashboard import url_state
from dashboard.charts.axis import X_KINDS, Look, XKind
from dashboard.charts.parts import Part
from dashboard.components.figure import show_chart
from dashboard.data.reader import RunReader
from dashboard.panels import refreshed
from dashboard.server.figures import figure_url, looked_at
from dashboard.story.curves import OPTIONS, SPANS, default_span, look_of
from dashboard.text.language import say

X_NAMES: dict[XKind, str] = {
    "step": "steps",
    "images": "images",
    "epoch": "epochs",
    "wall": "time of day",
    "relative": "duration",
}
SHOWN = ("train", "metrics", "evaluations", "snapshots", "requests", "settings")
"""What of a run the curves show."""


@refreshed("settings")
def curves_panel(reader: RunReader) -> None:
    """The losses and the composite; all other curves and how they are drawn are folded. A click on a point of quality
    opens its pictures. The charts ask for their figures themselves."""
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
    look = chosen_look(reader)
    with place:
        clicked = [show_pair(reader, look, "first")]
    if everything.open:
        with everything:
            clicked.append(show_pair(reader, look, "further"))
            clicked.append(show_frontier(reader))
    for step in clicked:
        if step is not None:
            st.session_state["step"] = step
            st.switch_page("views/samples.py")


def remember_curves() -> None:
    """Whether all curves are shown belongs to the address."""
    st.session_state["curves"] = st.session_state["curves_open"]
    url_state.write()


def show_pair(reader: RunReader, look: Look, part: Part) -> int | None:
    """One part of both figures beside each other; returns a step that was clicked."""
    clicked: list[int | None] = []
    for kind, column in zip(("training", "quality"), st.columns(2, gap="medium"), strict=True):
        with column:
            step = show_chart(
                figure_url(reader.name, f"{kind}-{part}", **looked_at(look)),
                run=reader.name,
                parts=SHOWN,
                group=f"{reader.run_id}-{look.view()}",
                file_name=f"{reader.name}-{kind}",
                key=f"{kind}_chart_{part}",
            )
            clicked.append(step)
    return next((step for step in clicked if step is not None), None)


def show_frontier(reader: RunReader) -> int | None:
    """The composite against what the snapshots cost, where that is measured; returns a step that was clicked."""
    if not reader.descriptions.prices:
        return None
    return show_chart(
        figure_url(reader.name, "frontier"),
        run=reader.name,
        parts=("metrics", "evaluations"),
        group=f"{reader.run_id}-frontier",
        file_name=f"{reader.name}-frontier",
        key="frontier_chart",
    )


def settle_look(reader: RunReader) -> None:
    """Axis, smoothing and scales, all of it in the address, whether or not it is shown."""
    url_state.settle("x", axes_of(reader), "step")
    url_state.settle("smoothing", SPANS, default_span(reader.config.train.max_train_steps))
    url_state.settle("scales", [*OPTIONS], [])


def choose_look(reader: RunReader) -> Look:
    """What is settled can be changed."""
    settle_look(reader)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="look"):
        st.segmented_control(
            say("Horizontal axis"),
            axes_of(reader),
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
    return chosen_look(reader)


def axes_of(reader: RunReader) -> list[XKind]:
    """Where the run counts epochs, its steps are epochs already."""
    return [kind for kind in X_KINDS if kind != "epoch" or reader.unit == "step"]


def chosen_look(reader: RunReader) -> Look:
    """As it is settled now."""
    state = st.session_state
    return look_of(state["x"], state["smoothing"], state["scales"], reader)
