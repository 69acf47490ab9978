"""`control/<id>.json`: a request, and its answer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.run_folder.records.record import Record
from shared.run_folder.times import Time, utc_now

RequestKind = Literal["stop", "snapshot-now", "pause", "resume", "evaluate"]


class Request(Record):
    """`control/<id>.json`: something a person or a program asks of the trainer; `evaluate` of the evaluators."""

    id: str
    kind: RequestKind
    run_id: str
    created: Time = Field(default_factory=utc_now)
    by: str = Field(description="dashboard, command line, signal SIGTERM …; the reason shown to people.")
    step: int | None = Field(default=None, ge=0, description="Of `evaluate`: the snapshot; 0 is the base model.")
    prompts: tuple[str, ...] = Field(
        default=(), description="Of `evaluate`: what to draw beside the run's own prompts, into `requested/<id>`."
    )


class Answer(Record):
    """`control/<id>.answer.json`: how far a request has come; None means not yet."""

    request_id: str
    seen: Time | None = None
    saved: Time | None = None
    stopped: Time | None = None
    done: Time | None = None
    step: int | None = None
    ignored: str | None = Field(default=None, description="Why the request had no effect.")
