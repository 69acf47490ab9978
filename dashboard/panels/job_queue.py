"""The queue of this machine above the runs: what is at work, what comes next, and buttons that change the order."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import streamlit as st

from dashboard.data.runs import runs_folder
from dashboard.panels import LANGUAGE, failing_alone
from dashboard.text import language
from dashboard.text.language import say
from dashboard.text.verbatim import verbatim
from shared.errors import ConfigError
from shared.job_queue.job_queue import NAME, Entry, JobQueue
from shared.run_folder.heartbeat import read_status
from shared.run_folder.run_dir import RunDir

LOOK_SECONDS = 2.0
ENDED_SHOWN = 5
TROUBLE = "queue_trouble"
"""In the session: why the last press changed nothing."""
SIGNS = {
    "up": ":material/arrow_upward:",
    "down": ":material/arrow_downward:",
    "again": ":material/replay:",
    "remove": ":material/close:",
}


@st.fragment(run_every=LOOK_SECONDS)
def queue_panel() -> None:
    """Nothing where there is no queue."""
    language.use(st.session_state.get(LANGUAGE, "en"))
    with failing_alone("queue"):
        queue = JobQueue(runs_folder() / NAME)
        entries = queue.entries()
        if not entries:
            return
        st.markdown(f"## {say('Queue')}")
        if trouble := st.session_state.pop(TROUBLE, ""):
            st.warning(verbatim(trouble), icon=":material/warning:")
        waiting = [entry.job.id for entry in entries if entry.state == "waiting"]
        over = [entry for entry in entries if entry.is_over]
        for entry in (entry for entry in entries if not entry.is_over):
            show(queue, entry, waiting)
        if over:
            with st.expander(say("{count} ended", count=len(over)), key="queue_ended"):
                for entry in reversed(over[-ENDED_SHOWN:]):
                    show(queue, entry, waiting)


def show(queue: JobQueue, entry: Entry, waiting: list[str]) -> None:
    """A job as a row. waiting: the ids of those that wait, in their order."""
    job_id = entry.job.id
    at = waiting.index(job_id) if job_id in waiting else -1
    with st.container(horizontal=True, vertical_alignment="center", key=f"queue_{job_id}"):
        st.html(f"<b>{escape(job_id)}</b> &ensp;{escape(in_words(entry))}", width="stretch")
        if at > 0:
            button(say("Up"), job_id, "up", queue.move, job_id, waiting[at - 1])
        if 0 <= at < len(waiting) - 1:
            after_next = waiting[at + 2] if at + 2 < len(waiting) else None
            button(say("Down"), job_id, "down", queue.move, job_id, after_next)
        if entry.state in ("failed", "stopped"):
            button(say("Try again"), job_id, "again", queue.retry, [job_id])
        if entry.state != "running":
            button(say("Take out"), job_id, "remove", queue.remove, [job_id])


def button(label: str, job_id: str, kind: str, do: Callable[..., object], *given: object) -> None:
    """A small button of a row."""
    key = f"queue_{kind}_{job_id}"
    st.button(label, key=key, icon=SIGNS[kind], type="tertiary", on_click=press, args=(do, *given), width="content")


def press(do: Callable[..., object], *given: object) -> None:
    """Change the queue, or keep the reason for the next drawing: the job has begun meanwhile, or is gone."""
    try:
        do(*given)
    except ConfigError as error:
        st.session_state[TROUBLE] = f"{error}. {error.hint}"


def in_words(entry: Entry) -> str:
    """How the job goes."""
    match entry.state:
        case "running":
            run = RunDir(entry.job.run)
            trainer = read_status(run, "trainer") if run.record.is_file() else None
            gpus = ", ".join(entry.attempt.gpus) if entry.attempt else ""
            step = (
                say("step {step} of {total}", step=trainer.step, total=trainer.total)
                if trainer and trainer.total
                else ""
            )
            return " · ".join(filter(None, [say("running"), f"GPU {gpus}" if gpus else "", step]))
        case "waiting" if entry.attempt and entry.attempt.outcome == "to be retried":
            return say("waits to be tried again: {reason}", reason=entry.attempt.reason)
        case "waiting":
            return say("waits")
        case "finished":
            return say("finished")
        case "stopped":
            return say("stopped: {reason}", reason=entry.attempt.reason if entry.attempt else "")
        case "failed":
            return say("failed: {reason}", reason=entry.attempt.reason if entry.attempt else "")
