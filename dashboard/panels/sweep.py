"""The sweep among the runs, or whose trials they are."""

from __future__ import annotations

import streamlit as st

from dashboard.components.figure import show_chart
from dashboard.components.sheet import show_sheet
from dashboard.data.reader import RunReader
from dashboard.panels import failing_alone, refreshed
from dashboard.server.figures import figure_url
from dashboard.story.sweep import LOOK_SECONDS, are_its_runs, sweep_chart, sweep_data, sweeps, trials_table
from dashboard.text.language import say


@refreshed("settings", seconds=LOOK_SECONDS)
def sweep_panel(reader: RunReader) -> float | None:
    """Winner, noise floor, parallel axes, importance, trials; nothing where there is no sweep."""
    found = sweeps()
    if not found:
        return None
    name = next(iter(found))
    if len(found) > 1:
        name = st.selectbox(say("Sweep"), [*found], key="sweep", persist_state="session", width=280)
    sweep, record = found[name]
    with failing_alone("sweep"):
        show_sheet(sweep_data(sweep, record), key="sweep_words")
        for part in ("trials", "importance"):
            if height := sweep_chart(name, part).height:
                show_chart(
                    figure_url(reader.name, f"sweep-{part}", of=name, drawn=record.created),
                    run=reader.name,
                    parts=("settings",),
                    group=f"sweep-{part}-{name}",
                    file_name=f"sweep-{name}-{part}",
                    key=f"sweep_{part}",
                    height=height,
                )
        st.dataframe(trials_table(record), hide_index=True)
    return LOOK_SECONDS if record.state == "running" else None


def trials_are_shown() -> bool:
    """Whether the runs of the page are a sweep's trials: the sweep then comes first."""
    return any(are_its_runs(sweep) for sweep, _ in sweeps().values())
