"""Buttons that send requests to the trainer. The dashboard writes nothing else into `control/`.

A request that is already open is not written again. Stop needs a confirmation; a pause or a snapshot loses nothing.
"""

from __future__ import annotations

import streamlit as st

from dashboard.data.reader import RunReader
from dashboard.panels import act
from dashboard.text.language import say
from shared.run_folder import requests
from shared.run_folder.heartbeat import is_alive
from shared.run_folder.records import ProcessStatus, RequestKind

BY = "dashboard"


def show_controls(reader: RunReader, trainer: ProcessStatus | None) -> None:
    """Stop, pause or resume, snapshot; disabled while no trainer is running or the same request is open."""
    alive = is_alive(trainer)
    paused = alive and trainer is not None and trainer.state == "paused"
    confirming = stop_button(reader, alive)
    if st.session_state.get(confirming):
        confirm_buttons(reader, confirming)
        return
    with st.container(horizontal=True, gap="xsmall", key="requests"):
        if paused:
            request_button(reader, "resume", say("Resume"), ":material/play_arrow:", alive)
        else:
            request_button(reader, "pause", say("Pause"), ":material/pause:", alive)
        request_button(reader, "snapshot-now", say("Snapshot"), ":material/photo_camera:", alive and not paused)


def request_button(reader: RunReader, kind: RequestKind, label: str, icon: str, possible: bool) -> None:
    """One click, one request."""
    st.button(
        label,
        key=f"request_{kind}",
        icon=icon,
        width="stretch",
        disabled=not possible or bool(requests.open_requests(reader.run, kind)),
        on_click=ask,
        args=(reader, kind),
    )


def ask(reader: RunReader, kind: RequestKind, by: str = BY) -> None:
    """Write the request, unless it is open already."""
    act(reader, requests.submit, reader.run, kind, by)


def stop_button(reader: RunReader, alive: bool) -> str:
    """Stop training; disabled while no trainer is running or a request is open. Returns the session key set by
    pressing it."""
    is_requested = bool(requests.open_requests(reader.run, "stop"))
    confirming = f"confirming_stop_{reader.run_id}"
    if not alive or is_requested:
        st.session_state.pop(confirming, None)
    st.button(
        say("Stop training"),
        key="stop_training",
        icon=":material/stop_circle:",
        width="stretch",
        disabled=not alive or is_requested,
        on_click=st.session_state.update,
        args=({confirming: True},),
    )
    return confirming


def confirm_buttons(reader: RunReader, confirming: str) -> None:
    """The confirmation, in place of the other buttons."""
    with st.container(horizontal=True, gap="xsmall"):
        st.button(
            say("Save and stop"),
            key="confirm_stop",
            type="primary",
            width="stretch",
            on_click=ask,
            args=(reader, "stop"),
        )
        st.button(
            say("Keep training"),
            key="cancel_stop",
            width="stretch",
            on_click=st.session_state.update,
            args=({confirming: False},),
        )


def show_advice(reader: RunReader, trainer: ProcessStatus | None) -> None:
    """The advice of the stop rule, with one button to follow it and one to dismiss it."""
    best = reader.best()
    advice = best.advice if best else None
    dismissed = f"dismissed_{reader.run_id}"
    if advice is None or advice.action == "continue" or not is_alive(trainer):
        return
    if requests.open_requests(reader.run, "stop") or st.session_state.get(dismissed) == advice.reason:
        return
    with st.container(horizontal=True, vertical_alignment="center", border=True, key="advice"):
        st.markdown(":material/lightbulb: **" + say("The stop rule advises to end training.") + "**", width="content")
        st.text(advice.reason, width="stretch")
        st.button(
            say("Save and stop"),
            key="accept_advice",
            type="primary",
            on_click=ask,
            args=(reader, "stop", f"{BY}, as the stop rule advised"),
        )
        st.button(
            say("Not yet"), key="dismiss_advice", on_click=st.session_state.update, args=({dismissed: advice.reason},)
        )
