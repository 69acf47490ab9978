"""The same prompts and seeds drawn by the base model, by a step of choice and by the best, beside the real pictures."""

from __future__ import annotations

import streamlit as st

from dashboard.components.wall import show_wall
from dashboard.files import picture_url
from dashboard.panels import refreshed
from dashboard.reader import RunReader
from dashboard.samples import Column, shortcomings, wall
from shared.errors import RunFolderError


@refreshed(seconds=3.0)
def pictures_panel(reader: RunReader) -> None:
    """One slider, one wall."""
    steps = reader.evaluated_steps()
    st.markdown("##### Samples")
    if not steps:
        st.info("Waiting for the first pictures, drawn by the base model …", icon=":material/hourglass_empty:")
        return
    best = reader.best()
    best_step = best.step if best else None
    chosen = choose_step(reader.run_id, steps, best_step)
    columns = [column_of(reader, 0, "base, step 0"), column_of(reader, chosen, f"step {chosen}")]
    if best_step is not None:
        columns.append(column_of(reader, best_step, f"★ best, step {best_step}"))
    for line in shortcomings(columns):
        st.warning(line, icon=":material/warning:")
    st.caption("Under each picture: visual · FashionCLIP · color loss against the reference, lower is better.")
    show_wall(wall(columns, reader.run_id, lambda path, version: picture_url(reader.name, version, path)), key="wall")


def choose_step(run_id: str, steps: list[int], best_step: int | None) -> int:
    """One slider for all pictures; it follows the newest step until somebody moves it back."""
    if len(steps) == 1:
        return steps[0]
    key, following = f"sample_step_{run_id}", f"following_{run_id}"
    if st.session_state.get(following, True) or st.session_state.get(key) not in steps:
        st.session_state[key] = steps[-1]

    def note_choice() -> None:
        st.session_state[following] = st.session_state[key] == steps[-1]

    return st.select_slider(
        "Step shown",
        steps,
        key=key,
        format_func=lambda step: f"{step} ★" if step == best_step else str(step),
        on_change=note_choice,
    )


def column_of(reader: RunReader, step: int, title: str) -> Column:
    """The pictures of a step; a damaged record shows as none, with the reason."""
    try:
        return Column(title, reader.result(step))
    except RunFolderError as error:
        st.warning(str(error), icon=":material/warning:")
        return Column(title, None)
