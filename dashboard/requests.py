"""What became of a request: its stages with their ages, and why it goes nowhere. Values to HTML, all text escaped."""

from __future__ import annotations

import html
from datetime import datetime

from dashboard.language import say
from dashboard.state_line import Fact
from dashboard.words import duration
from shared.records import Answer, Request, seconds_since

SILENCE_SECONDS = 10.0
LAST_STAGE = {"stop": "stopped", "snapshot": "saved", "pause": "paused", "resume": "resumed", "evaluate": "judged"}
NAMES = {"stop": "stop request", "snapshot": "snapshot now", "pause": "pause request", "resume": "resume request"}


def stages(request: Request, answer: Answer) -> dict[str, str | None]:
    """Stage → when it was reached; None is not yet. A stop is seen, saved, stopped; others end sooner."""
    last = LAST_STAGE.get(request.kind, "done")
    told: dict[str, str | None] = {"requested": request.created, "seen": answer.seen}
    if request.kind == "stop":
        told["saved"] = answer.saved
    return told | {last: getattr(answer, last, None) or getattr(answer, "done", None)}


def is_settled(request: Request, answer: Answer) -> bool:
    """Whether nothing more is to come."""
    return bool(answer.ignored) or all(stages(request, answer).values())


def chain_html(request: Request, answer: Answer, now: datetime) -> str:
    """requested → seen → saved → stopped, with the age of each stage reached."""
    links = [
        f'<li class="{"reached" if when else "open"}">{html.escape(say(stage))}'
        f"{f'<span>{ago(when, now)}</span>' if when else ''}</li>"
        for stage, when in stages(request, answer).items()
    ]
    label = html.escape(say(NAMES.get(request.kind, request.kind)))
    by = html.escape(say("by {who}", who=request.by))
    return f'<ol class="chain" aria-label="{label}"><li class="name">{label} <span>{by}</span></li>{"".join(links)}</ol>'


def ago(when: str, now: datetime) -> str:
    """`12 s ago`."""
    return html.escape(say("{age} ago", age=duration(seconds_since(when, now))))


def trouble(request: Request, answer: Answer, trainer: Fact, now: datetime) -> str:
    """Why a request goes nowhere; empty while it proceeds in time or is done."""
    if answer.ignored:
        return say("The request had no effect: {reason}.", reason=answer.ignored)
    if is_settled(request, answer):
        return ""
    age = seconds_since(request.created, now)
    state = f"{trainer.value}, {trainer.note}"
    if trainer.tone == "bad":
        return say("The trainer ended without answering the request ({state}).", state=state)
    if answer.seen is None and age > SILENCE_SECONDS:
        return say(
            "The trainer has not answered for {age} ({state}). It looks for requests after every step.",
            age=duration(age),
            state=state,
        )
    return ""
