"""`processes/<role>.json`: who runs, and how far."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.run_folder.records.record import Record
from shared.run_folder.times import Time

Role = Literal["supervisor", "trainer", "importer", "evaluator", "dashboard", "tracker"]
State = Literal[
    "starting",
    "preparing",
    "training",
    "paused",
    "waiting",
    "evaluating",
    "idle",
    "draining",
    "saving",
    "serving",
    "stopped",
    "finished",
    "failed",
]
FINAL_STATES = frozenset({"stopped", "finished", "failed"})


class ProcessStatus(Record):
    """`processes/<role>.json`: who runs, how far, and when it last said so."""

    role: Role
    run_id: str
    pid: int = Field(ge=0)
    host: str
    process_started: float = Field(description="Start time of the process, epoch seconds: with the pid, its identity.")
    started: Time
    state: State
    step: int = Field(
        default=0,
        description="Trainer: optimizer updates done. Importer: last LoRA taken. Evaluator: snapshot at work.",
    )
    total: int = Field(default=0, description="Trainer: max_train_steps. Evaluator: snapshots known.")
    progress: int = Field(
        default=0, description="Counter that grows with every piece of work done: a hang shows as no growth."
    )
    heartbeat: Time
    message: str = ""
    forecast: str = Field(default="", description="Trainer: what the run will take on the disk, said before it trains.")
    notices: tuple[str, ...] = Field(
        default=(), description="What a person must know of this session: what was lost, skipped or done otherwise."
    )
