"""Running programs and their progress, alerts, and requests with their status."""

from __future__ import annotations

import html
from datetime import UTC, datetime, tzinfo
from itertools import chain
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from dashboard.components import request_status, state_line
from dashboard.data import alert_texts
from dashboard.data.events import typical
from dashboard.data.machine_usage import Gpu, read_gpus
from dashboard.data.reader import RunReader
from dashboard.data.speed import pace
from dashboard.panels import LANGUAGE, shown_reader
from dashboard.panels.controls import show_advice, show_controls
from dashboard.text import language
from dashboard.text.language import say
from shared.errors import DarkroomError
from shared.followers.alerts import Alert
from shared.run_folder import requests
from shared.run_folder.active_evaluators import read_active_evaluators
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.records import ProcessStatus

SHOWN_ALERTS = 3


@st.fragment(run_every=2.0)
def state_panel(run_name: str) -> None:
    """The first panel of every page; says so when the run cannot be read."""
    language.use(st.session_state.get(LANGUAGE, "en"))
    try:
        show_state(shown_reader(run_name), datetime.now(UTC))
    except DarkroomError as error:
        st.error(f"{error}\n\n{error.hint}", icon=":material/error:")


def show_state(reader: RunReader, now: datetime) -> None:
    """Facts beside the buttons; below them the requests of this session and the alerts."""
    trainer = read_status(reader.run, "trainer")
    line, buttons = st.columns([5, 1], gap="medium")
    step, total = reader.last_step(), reader.config.train.max_train_steps
    line.html(state_line.facts_html(facts(reader, trainer, step, total, now), step / total))
    with buttons:
        show_controls(reader, trainer)
    show_requests(reader, trainer, now)
    show_advice(reader, trainer)
    show_alerts(alert_texts.of_run(reader, trainer, now))


def facts(
    reader: RunReader, trainer: ProcessStatus | None, step: int, total: int, now: datetime
) -> list[state_line.Fact]:
    """What the state line says; the supervisor is mentioned only when something is wrong with it."""
    supervisor = read_status(reader.run, "supervisor")
    alive = is_alive(trainer)
    at_work = trainer is not None and alive and trainer.state != "paused"
    speed = pace(reader.train(), trainer.started) if trainer and at_work else None
    line = [
        state_line.process_fact(say("Trainer"), trainer, alive, now),
        state_line.step_fact(step, total),
        state_line.speed_fact(speed, typical(reader.train()["step_seconds"].to_numpy())),
        state_line.remaining_fact(speed, total - step, now.astimezone(viewer_zone())),
        state_line.evaluators_fact(*read_active_evaluators(reader.run), now),
        state_line.evaluated_fact(reader.snapshot_steps(), reader.waiting_steps(), reader.skipped(), reader.failures()),
        *(state_line.gpu_fact(gpu) for gpu in gpus()),
    ]
    supervising = state_line.process_fact(say("Supervisor"), supervisor, is_alive(supervisor), now)
    return [*line, supervising] if supervising.tone in ("warn", "bad") else line


def viewer_zone() -> tzinfo:
    """The browser's time zone; UTC where it does not say."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ValueError, ZoneInfoNotFoundError):
        return UTC


@st.cache_data(ttl=2, max_entries=1, show_spinner=False)
def gpus() -> list[Gpu]:
    """The GPUs, asked once for all viewers."""
    return read_gpus()


def show_requests(reader: RunReader, trainer: ProcessStatus | None, now: datetime) -> None:
    """The newest request of each kind while it is open, and for a while after; a stop of this session always."""
    fact = state_line.process_fact(say("Trainer"), trainer, is_alive(trainer), now)
    newest = (requests.requests(reader.run, kind)[-1:] for kind in requests.REQUEST_KINDS)
    for request in sorted(chain.from_iterable(newest), key=lambda request: request.created):
        answer = requests.read_answer(reader.run, request)
        if request_status.is_past(request, answer, trainer, now):
            continue
        st.html(request_status.chain_html(request, answer, now))
        if trouble := request_status.trouble(request, answer, fact, now):
            st.warning(trouble, icon=":material/warning:")


def show_alerts(alerts: list[Alert]) -> None:
    """One line each; many are folded."""
    if not alerts:
        return
    lines = [f'<li class="{alert.level}">{html.escape(alert_texts.sentence(alert))}</li>' for alert in alerts]
    rest = html.escape(say("further alerts: {count}", count=len(lines) - SHOWN_ALERTS))
    more = (
        f"<details><summary>{rest}</summary>{''.join(lines[SHOWN_ALERTS:])}</details>" if lines[SHOWN_ALERTS:] else ""
    )
    st.html(f'<ul class="alerts" role="status">{"".join(lines[:SHOWN_ALERTS])}{more}</ul>')
