"""`jobs/<id>.json`: a run that a person has put into the queue."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from shared.run_folder.records.record import Record
from shared.run_folder.times import Time, utc_now

MAX_PRIORITY = 1000
DEFAULT_RETRIES = 2


class Job(Record):
    """What `run.py train` is asked to do, and when."""

    id: str = Field(description="`003-dress`: a number that no other job of the queue has had, and the run's name.")
    config: Path = Field(description="Absolute. It is read when the job begins.")
    overrides: tuple[str, ...] = ()
    folder: Path = Field(description="Where relative paths of the config and the overrides are meant from.")
    run: Path = Field(description="The run folder that it makes or resumes.")
    gpus: int = Field(default=1, ge=1, description="How many it gets on a machine that has GPUs.")
    retries: int = Field(default=DEFAULT_RETRIES, ge=0, description="How often it is tried again.")
    priority: int = Field(default=0, ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="Higher ones begin first.")
    place: float = Field(description="Among jobs of one priority, the lowest begins first.")
    created: Time = Field(default_factory=utc_now)

    @property
    def number(self) -> int:
        """Of the id."""
        return int(self.id.partition("-")[0])
