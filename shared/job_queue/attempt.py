"""`attempts/<id>.json`: how a job goes, or how it ended."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field

from shared.run_folder.records.record import Record
from shared.run_folder.times import Time, utc_now

Outcome = Literal["", "finished", "stopped", "failed", "interrupted", "to be retried"]
ENDED = frozenset({"finished", "stopped", "failed"})


class Attempt(Record):
    """The last attempt at a job."""

    job_id: str
    number: int = Field(ge=1, description="1: the first. What a signal or a reboot cut short does not count.")
    gpus: tuple[str, ...] = Field(default=(), description="As CUDA_VISIBLE_DEVICES names them.")
    outcome: Outcome = Field(default="", description="Empty while its process works.")
    code: int | None = Field(default=None, description="Exit code of `run.py train`.")
    reason: str = Field(default="", description="Why it was stopped or has failed.")
    pid: int = Field(default_factory=os.getpid)
    started: Time = Field(default_factory=utc_now)
    ended: Time | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is done for the job, unless a person asks for it."""
        return self.outcome in ENDED
