"""Requests to the evaluators for one snapshot: evaluate it next, or draw it with other prompts."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from dashboard.components import request_status
from dashboard.components.state_line import Fact, evaluators_fact
from dashboard.data.drawings import drawings_html
from dashboard.data.reader import RunReader
from dashboard.panels import act, refreshed
from dashboard.server.posts.control import BY
from dashboard.text.language import say
from dashboard.text.verbatim import verbatim
from shared.data import asked_prompt
from shared.run_folder import requests
from shared.run_folder.records.request import Request
from shared.run_folder.sharing.active_evaluators import read_active_evaluators

OPEN_SECONDS, QUIET_SECONDS = 2.0, 60.0  # between two looks at the ages of requests and pictures


@refreshed("requests", "evaluations")
def requests_panel(reader: RunReader, step: int) -> float | None:
    """The requests for a snapshot, their progress, and the pictures drawn."""
    now = datetime.now(UTC)
    evaluation_requests = requests.requests(reader.run, "evaluate")
    evaluators, alive = read_active_evaluators(reader.run)
    evaluators = evaluators_fact(evaluators, alive, now)
    if step not in reader.deleted_steps():
        evaluate_button(reader, step)
        prompts_form(reader, step, evaluation_requests)
    ours = [one for one in evaluation_requests if one.step == step]
    for request in reversed(ours):
        show_request(reader, request, evaluators, bool(alive), now)
    is_open = any(not request_status.is_past(one, requests.read_answer(reader.run, one), None, now) for one in ours)
    return OPEN_SECONDS if is_open else QUIET_SECONDS if ours else None


def evaluate_button(reader: RunReader, step: int) -> None:
    """For waiting and skipped snapshots."""
    if step in reader.drawn_steps():
        return
    open_now = requests.open_requests(reader.run, "evaluate")
    st.button(
        say("Evaluate this snapshot next"),
        key=f"evaluate_{reader.run_id}_{step}",
        icon=":material/vertical_align_top:",
        disabled=any((one.step, one.prompts) == (step, ()) for one in open_now),
        on_click=ask_to_evaluate,
        args=(reader, step),
    )


def ask_to_evaluate(reader: RunReader, step: int) -> None:
    """Write the request, unless it is open already."""
    act(reader, requests.submit_evaluation, reader.run, step, BY)


def prompts_form(reader: RunReader, step: int, evaluation_requests: list[Request]) -> None:
    """The form starts with the last prompts, so that several snapshots can be drawn with the same ones."""
    if reader.has_no_pictures():
        return
    key = f"prompts_{reader.run_id}_{step}"
    last = next((one.prompts for one in reversed(evaluation_requests) if one.prompts), ())
    st.session_state.setdefault(key, "\n".join(asked_prompt.split(prompt)[0] for prompt in last))
    sources = reader.prompts_with_sources()
    with st.form(f"{key}_form", border=False):
        st.text_area(say("Try your own prompts, one per line"), key=key, height=100)
        if sources:
            st.selectbox(
                say("What they are made from"),
                list(sources),
                key=f"{key}_source",
                format_func=lambda name: f"{name}: {sources[name]}",
            )
        st.form_submit_button(
            say("Draw with these prompts"), icon=":material/brush:", on_click=ask_for_drawings, args=(reader, step, key)
        )
    if trouble := st.session_state.get(f"{key}_trouble"):
        st.error(trouble, icon=":material/error:")


def ask_for_drawings(reader: RunReader, step: int, key: str) -> None:
    """Write the request, unless the same is open already, or say why not."""
    prompts = request_status.prompts_in(st.session_state[key])
    if source := st.session_state.get(f"{key}_source"):
        prompts = [asked_prompt.with_source(prompt, source) for prompt in prompts]
    st.session_state[f"{key}_trouble"] = trouble = request_status.prompts_trouble(prompts)
    if not trouble:
        act(reader, requests.submit_evaluation, reader.run, step, BY, prompts)


def show_request(reader: RunReader, request: Request, evaluators: Fact, serving: bool, now: datetime) -> None:
    """Show its stages until a while after it is settled, and its pictures always."""
    answer = requests.read_answer(reader.run, request)
    if not request_status.is_past(request, answer, None, now):
        st.html(request_status.chain_html(request, answer, now))
        if trouble := request_status.evaluation_trouble(request, answer, evaluators, serving, now):
            st.warning(verbatim(trouble), icon=":material/warning:")
    result = reader.result(request.step or 0, f"{reader.run.requested.name}/{request.id}") if request.prompts else None
    if result is None:
        return
    if result.status == "failed":
        st.error(say("could not be evaluated: {reason}", reason=verbatim(result.reason)), icon=":material/error:")
    else:
        st.html(
            f'<p class="small">{request_status.ago(result.created, now)}</p>'
            + drawings_html(reader.name, request, result, reader.descriptions)
        )
