"""What was asked of the trainer and how far it has come; what the stop rule advises."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import chain

from dashboard.components import request_status
from dashboard.components.state_line import process_fact
from dashboard.data.reader import RunReader
from dashboard.text.formatting import duration
from dashboard.text.language import say
from dashboard.text.phrases import told
from shared.run_folder import requests
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.times import parse_time, seconds_since


@dataclass(frozen=True)
class Stage:
    """Of a request: its name, and when it was reached; empty: not yet."""

    name: str
    when: str
    """How long ago while the request is open, then the time of day: what is over must not change by itself."""


@dataclass(frozen=True)
class RequestLine:
    """requested → seen → saved → stopped, and why it does not proceed."""

    label: str
    by: str
    stages: tuple[Stage, ...]
    trouble: str


def shown_requests(reader: RunReader, now: datetime, zone: tzinfo) -> tuple[RequestLine, ...]:
    """The newest request of each kind while it is open, and for a while after; a stop of this session always."""
    imported = reader.run.read_record().imported
    trainer = read_status(reader.run, "importer" if imported else "trainer")
    fact = process_fact(say("Importer") if imported else say("Trainer"), trainer, is_alive(trainer), now)
    newest = (requests.requests(reader.run, kind)[-1:] for kind in requests.REQUEST_KINDS)
    lines: list[RequestLine] = []
    for request in sorted(chain.from_iterable(newest), key=lambda request: request.created):
        answer = requests.read_answer(reader.run, request)
        if request_status.is_past(request, answer, trainer, now):
            continue
        stages = request_status.stages(request, answer).items()
        is_over = request_status.is_settled(request, answer)
        lines.append(
            RequestLine(
                say(request_status.NAMES[request.kind]),
                say("by {who}", who=request.by),
                tuple(Stage(say(name), _when(when, now, zone, is_over)) for name, when in stages),
                request_status.trouble(request, answer, fact, now),
            )
        )
    return tuple(lines)


def advice(reader: RunReader) -> str:
    """Why the stop rule advises to end training; empty unless it does and nobody has asked to stop."""
    best, trainer = reader.best(), read_status(reader.run, "trainer")
    if best is None or best.advice is None or best.advice.action == "continue" or not is_alive(trainer):
        return ""
    return "" if requests.open_requests(reader.run, "stop") else told([best.advice.reason_phrase], best.advice.reason)


def _when(when: str | None, now: datetime, zone: tzinfo, is_over: bool) -> str:
    if when is None:
        return ""
    if is_over:
        return f"{parse_time(when).astimezone(zone):%H:%M:%S}"
    return say("{age} ago", age=duration(seconds_since(when, now)))
