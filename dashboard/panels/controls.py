"""What a person may ask of the trainer, each twice before it is written: the only thing this program writes there."""

from __future__ import annotations

import streamlit as st

from dashboard.language import say
from dashboard.reader import RunReader
from shared import control
from shared.records import ProcessStatus
from shared.status import is_alive


def show_controls(reader: RunReader, trainer: ProcessStatus | None) -> None:
    """Stop training, off while nobody trains or a request is open."""
    alive = is_alive(trainer)
    asked = any(request.kind == "stop" for request in control.open_requests(reader.run))
    confirming = f"confirming_stop_{reader.run_id}"
    if not alive or asked:
        st.session_state.pop(confirming, None)
    st.button(
        say("Stop training"),
        key="stop_training",
        icon=":material/stop_circle:",
        width="stretch",
        disabled=not alive or asked,
        on_click=st.session_state.update,
        args=({confirming: True},),
    )
    if st.session_state.get(confirming):
        st.button(
            say("Save and stop"),
            key="confirm_stop",
            type="primary",
            width="stretch",
            on_click=ask_to_stop,
            args=(reader,),
        )
        st.button(
            say("Keep training"),
            key="cancel_stop",
            width="stretch",
            on_click=st.session_state.update,
            args=({confirming: False},),
        )


def ask_to_stop(reader: RunReader) -> None:
    """Written once, however often it is pressed."""
    control.submit_stop(reader.run, by="dashboard")
