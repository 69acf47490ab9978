"""`runner.json`: who works on the queue."""

from __future__ import annotations

import os
import socket
from typing import Literal

from pydantic import Field

from shared.run_folder.records.record import Record
from shared.run_folder.times import Time, utc_now


class RunnerRecord(Record):
    """The last `run.py queue run`."""

    state: Literal["working", "ending", "ended"]
    gpus: tuple[str, ...] = Field(default=(), description="That it gives to jobs, as CUDA_VISIBLE_DEVICES names them.")
    slots: int = Field(default=1, ge=1, description="On a machine without GPUs: jobs at the same time.")
    pid: int = Field(default_factory=os.getpid)
    host: str = Field(default_factory=socket.gethostname)
    started: Time = Field(default_factory=utc_now)
