"""Who is at work and how far, the Stop button, and what became of a stop request."""

from __future__ import annotations

from datetime import datetime, timezone

import streamlit as st

from dashboard import state_line
from dashboard.progress import pace
from dashboard.reader import RunReader
from dashboard.runs import open_reader
from shared import control
from shared.errors import DarkroomError
from shared.records import Answer, ProcessStatus, Request, parse_time
from shared.status import is_alive, read_status


@st.fragment(run_every=1.0)
def state_panel(run_name: str) -> None:
    """The first panel of every page; says so when the run cannot be read."""
    try:
        show_state(open_reader(run_name), datetime.now(timezone.utc))
    except DarkroomError as error:
        st.error(f"{error}\n\n{error.hint}", icon=":material/error:")


def show_state(reader: RunReader, now: datetime) -> None:
    """Facts beside the button; below them the stop request of this session, if there is one."""
    trainer = read_status(reader.run, "trainer")
    alive = is_alive(trainer)
    line, button = st.columns([6, 1])
    step, total = reader.last_step(), reader.config.train.max_train_steps
    line.html(state_line.facts_html(facts(reader, trainer, step, total, now), step / total))
    with button:
        stop_button(reader, alive)
    request, answer = newest_request(reader, trainer)
    if request and answer:
        st.html(state_line.stop_chain_html(request, answer, now))
        trainer_fact = state_line.process_fact("Trainer", trainer, alive, now)
        trouble = state_line.stop_trouble(request, answer, trainer_fact, now)
        if trouble:
            st.warning(trouble, icon=":material/warning:")


def facts(
    reader: RunReader, trainer: ProcessStatus | None, step: int, total: int, now: datetime
) -> list[state_line.Fact]:
    """What the state line says; the supervisor is mentioned only when something is wrong with it."""
    evaluator, supervisor = read_status(reader.run, "evaluator"), read_status(reader.run, "supervisor")
    alive = is_alive(trainer)
    speed = pace(reader.train(), trainer.started) if trainer and alive else None
    told = [
        state_line.process_fact("Trainer", trainer, alive, now),
        state_line.step_fact(step, total),
        state_line.speed_fact(speed),
        state_line.remaining_fact(speed, total - step),
        state_line.evaluator_fact(evaluator, is_alive(evaluator), now),
        state_line.judged_fact(reader.snapshot_steps(), reader.evaluated_steps()),
    ]
    supervising = state_line.process_fact("Supervisor", supervisor, is_alive(supervisor), now)
    return [*told, supervising] if supervising.tone in ("warn", "bad") else told


def stop_button(reader: RunReader, alive: bool) -> None:
    """Stop training, asked twice; off while nobody trains or a request is open."""
    asked = bool(control.open_requests(reader.run))
    confirming = f"confirming_stop_{reader.run_id}"
    if not alive or asked:
        st.session_state.pop(confirming, None)
    st.button(
        "Stop training",
        key="stop_training",
        icon=":material/stop_circle:",
        width="stretch",
        disabled=not alive or asked,
        on_click=st.session_state.update,
        args=({confirming: True},),
    )
    if st.session_state.get(confirming):
        st.button(
            "Save and stop", key="confirm_stop", type="primary", width="stretch", on_click=ask_to_stop, args=(reader,)
        )
        st.button(
            "Keep training",
            key="cancel_stop",
            width="stretch",
            on_click=st.session_state.update,
            args=({confirming: False},),
        )


def ask_to_stop(reader: RunReader) -> None:
    """The one thing this program writes."""
    control.submit_stop(reader.run, by="dashboard")


def newest_request(reader: RunReader, trainer: ProcessStatus | None) -> tuple[Request | None, Answer | None]:
    """The last stop request and its answer, unless it was settled before this session of the trainer began."""
    requests = control.requests(reader.run)
    if not requests:
        return None, None
    request = requests[-1]
    answer = control.read_answer(reader.run, request)
    is_settled = answer.stopped or answer.ignored
    if is_settled and trainer and parse_time(request.created) < parse_time(trainer.started):
        return None, None
    return request, answer
