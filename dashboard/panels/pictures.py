"""The same prompts and seeds drawn by two steps, A and B, beside the real pictures."""

from __future__ import annotations

import html
from typing import Any

import streamlit as st

from dashboard import url_state
from dashboard.components.exhibits import exhibits_html, has_texts
from dashboard.components.wall import Choice, show_wall, wall_data
from dashboard.data.reader import RunReader
from dashboard.panels import refreshed
from dashboard.panels.waiting import wait_for_evaluation
from dashboard.story.drawn import default_sides, drawn_steps
from dashboard.text.language import say
from dashboard.text.verbatim import verbatim
from shared.run_folder.averages import label
from shared.run_folder.pending import BASE_MODEL

KEYS = {"left": "left", "right": "step", "sort": "rows", "prompt": "prompt"}
"""Of a choice → of the address. The first screen shares `left` and `step`."""


@refreshed("evaluations", "metrics", seconds=3.0)
def pictures_panel(reader: RunReader) -> float | None:
    """The whole wall."""
    if not reader.evaluated_steps():
        return wait_for_evaluation(reader, say("Waiting for the first pictures, drawn by the base model …"))
    if data := pictures_data(reader, {name: st.session_state.get(key) for name, key in KEYS.items()}):
        show_wall(data, key=f"wall_{reader.run_id}", on_choice=keep)
    elif (step := shown_step(reader, st.session_state.get("step"))) is not None and exhibits_html(reader, step):
        st.html(exhibits_of(reader, step, choose_sides(reader, step) if has_texts(reader, step) else BASE_MODEL))
    else:
        for line in (*map(verbatim, missing_lines(reader)), say("The results of this run have no pictures.")):
            st.caption(line)
    return None


def shown_step(reader: RunReader, chosen: int | None = None) -> int | None:
    """The chosen step, else the best or the newest one."""
    best, there = reader.best(), [*reader.averages(), *reader.drawn_steps()]
    wanted = [chosen, best.step if best else None, max(reader.drawn_steps(), default=None)]
    return next((one for one in wanted if one in there), None)


def exhibits_of(reader: RunReader, step: int, beside: int) -> str:
    """What the task shows of a step, under its number."""
    return f"<h2>{html.escape(say('Step {step}', step=label(step)))}</h2>{exhibits_html(reader, step, beside)}"


def choose_sides(reader: RunReader, step: int) -> int:
    """Which two steps are compared; returns the one at the left. Both belong to the address."""
    steps, left = [*reader.drawn_steps(), *reader.averages()], st.session_state.get("left")
    beside = left if left in steps else BASE_MODEL
    names = {one: say("Step {step}", step=label(one)) for one in steps}
    with st.container(horizontal=True, gap="small"):
        for title, key, now in ((say("Left"), "left", beside), (say("Right"), "step", step)):
            box = f"side_{key}_{reader.run_id}"
            st.selectbox(
                title,
                steps,
                index=steps.index(now) if now in steps else 0,
                format_func=lambda one: names[one],
                key=box,
                width=180,
                on_change=keep_side,
                args=(key, box),
            )
    return beside


def keep_side(key: str, box: str) -> None:
    """What was chosen belongs to the address."""
    st.session_state[key] = st.session_state[box]
    url_state.write()


def pictures_data(reader: RunReader, choice: Choice) -> dict[str, Any] | None:
    """What the wall draws; None if there are no pictures."""
    if not reader.evaluated_steps() or reader.has_no_pictures():
        return None
    drawn = drawn_steps(reader)
    return wall_data(
        reader.name,
        reader.run_id,
        descriptions=reader.descriptions,
        drawn=drawn,
        defaults=default_sides(reader, drawn),
        choice=choice,
        remarks=missing_lines(reader),
    )


def keep(choice: Choice) -> None:
    """What was chosen belongs to the address."""
    for name, key in KEYS.items():
        if name in choice:
            st.session_state[key] = choice[name]
    url_state.write()


def missing_lines(reader: RunReader) -> list[str]:
    """Metrics without a number, with the reason, in one line those that lack it at the same steps for the same reason;
    evaluations that failed are told by the alerts.
    """
    failed = reader.failures()
    names = {column.name: say(column.topic) for column in reader.descriptions.compared}
    alike: dict[tuple[str, str], list[str]] = {}
    for name, reasons in reader.missing().items():
        steps = [step for step in reasons if step not in failed]
        if steps:
            causes = sorted({reasons[step] for step in steps})
            listed = ", ".join(str(step) for step in steps[:8]) + (" …" if len(steps) > 8 else "")
            alike.setdefault((listed, "; ".join(causes)), []).append(names[name])
    return [
        say(
            "No number for {metrics} at step {steps}: {reason}",
            metrics=say(", ").join(metrics),
            steps=listed,
            reason=causes,
        )
        for (listed, causes), metrics in alike.items()
    ]
