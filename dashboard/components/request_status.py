"""The status of a request: its stages with their ages, and why it does not proceed. Values to HTML, all text
escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import datetime

from dashboard.components.state_line import Fact
from dashboard.text.formatting import duration
from dashboard.text.language import say
from shared.run_folder.records.process_status import ProcessStatus
from shared.run_folder.records.request import Answer, Request, RequestKind
from shared.run_folder.requests import MAX_PROMPTS
from shared.run_folder.times import parse_time, seconds_since

SILENCE_SECONDS = 10.0
SHOWN_SECONDS = 60.0
DONE: dict[RequestKind, str] = {
    "snapshot-now": "published",
    "pause": "paused",
    "resume": "resumed",
    "evaluate": "evaluated",
}
DRAWN = "drawn"
NAMES: dict[RequestKind, str] = {
    "stop": "stop request",
    "snapshot-now": "snapshot request",
    "pause": "pause request",
    "resume": "resume request",
    "evaluate": "evaluation request",
}


def stages(request: Request, answer: Answer) -> dict[str, str | None]:
    """Stage → when it was reached; None is not yet."""
    reached: dict[str, str | None] = {"requested": request.created, "seen": answer.seen}
    if request.kind == "stop":
        return reached | {"saved": answer.saved, "stopped": answer.stopped}
    return reached | {DRAWN if request.prompts else DONE[request.kind]: answer.done}


def is_settled(request: Request, answer: Answer) -> bool:
    """Whether the request is answered for good."""
    return bool(answer.ignored or answer.stopped or answer.done)


def is_past(request: Request, answer: Answer, trainer: ProcessStatus | None, now: datetime) -> bool:
    """Whether to hide a request: settled before this session, or a while ago (a stop stays)."""
    if not is_settled(request, answer):
        return False
    if trainer and parse_time(request.created) < parse_time(trainer.started):
        return True
    return request.kind != "stop" and seconds_since(answer.done or answer.seen or request.created, now) > SHOWN_SECONDS


def chain_html(request: Request, answer: Answer, now: datetime) -> str:
    """requested → seen → saved → stopped, with the age of each stage reached."""
    links = [
        f'<li class="{"reached" if when else "open"}">{html.escape(say(stage))}'
        f"{f'<span>{ago(when, now)}</span>' if when else ''}</li>"
        for stage, when in stages(request, answer).items()
    ]
    label = html.escape(say(NAMES[request.kind]))
    by = html.escape(say("by {who}", who=request.by))
    return (
        f'<ol class="chain" aria-label="{label}"><li class="name">{label} <span>{by}</span></li>{"".join(links)}</ol>'
    )


def ago(when: str, now: datetime) -> str:
    """`12 s ago`."""
    return html.escape(say("{age} ago", age=duration(seconds_since(when, now))))


def trouble(request: Request, answer: Answer, trainer: Fact, now: datetime) -> str:
    """Why a request does not proceed; empty while it proceeds in time or is done."""
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
            "The trainer has not answered for {age} ({state}). It checks for requests after every step.",
            age=duration(age),
            state=state,
        )
    return ""


def evaluation_trouble(request: Request, answer: Answer, evaluators: Fact, serving: bool, now: datetime) -> str:
    """The same for requests to evaluators, any of which may answer; `serving`: one is alive."""
    if answer.ignored:
        return say("The request had no effect: {reason}.", reason=answer.ignored)
    if is_settled(request, answer):
        return ""
    age, state = seconds_since(request.created, now), ", ".join(filter(None, (evaluators.value, evaluators.note)))
    if not serving:
        return say(
            "No evaluator is running to answer ({state}). Start one with `python run.py evaluate RUN`.", state=state
        )
    if answer.seen is None and age > SILENCE_SECONDS:
        return say(
            "Waiting for {age} ({state}). It starts after the current evaluation.", age=duration(age), state=state
        )
    return ""


def prompts_in(text: str) -> list[str]:
    """A prompt from each line that holds one."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def prompts_trouble(prompts: Sequence[str]) -> str:
    """Why these prompts cannot be drawn; empty if they can."""
    if not prompts:
        return say("Write a prompt first, one per line.")
    if len(prompts) > MAX_PROMPTS:
        return say("{count} prompts are too many: at most {most} at once.", count=len(prompts), most=MAX_PROMPTS)
    return ""
