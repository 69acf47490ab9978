"""The same prompts and seeds drawn by the base model and by every snapshot, beside the real pictures."""

from __future__ import annotations

import streamlit as st

from dashboard import url_state
from dashboard.components.wall import show_wall, wall_data
from dashboard.data.reader import RunReader
from dashboard.panels import refreshed
from dashboard.panels.waiting import wait_for_evaluation
from dashboard.text.language import say
from dashboard.text.verbatim import verbatim


@refreshed("evaluations", "metrics", seconds=3.0)
def pictures_panel(reader: RunReader) -> float | None:
    """The whole wall."""
    if not reader.evaluated_steps():
        return wait_for_evaluation(reader, say("Waiting for the first pictures, drawn by the base model …"))
    missing_lines(reader)
    if reader.has_no_pictures():
        st.caption(say("The results of this run have no pictures."))
        return None
    best = reader.best()
    chosen = st.session_state.get("step")
    data = wall_data(
        reader.name,
        reader.run_id,
        reader.evaluation_versions(),
        descriptions=reader.descriptions,
        best=best.step if best else None,
        step=chosen,
    )
    show_wall(data, key=f"wall_{reader.run_id}", on_step=choose_step)
    return None


def choose_step(step: int) -> None:
    """Keep the choice in the address."""
    st.session_state["step"] = step
    url_state.write()


def missing_lines(reader: RunReader) -> None:
    """Metrics without a number, with the reason; evaluations that failed are told by the alerts."""
    failed = reader.failures()
    for name, reasons in reader.missing().items():
        steps = [step for step in reasons if step not in failed]
        if steps:
            causes = sorted({reasons[step] for step in steps})
            listed = ", ".join(str(step) for step in steps[:8]) + (" …" if len(steps) > 8 else "")
            st.caption(
                say(
                    "No {metric} at step {steps}: {reason}",
                    metric=name,
                    steps=listed,
                    reason=verbatim("; ".join(causes)),
                )
            )
