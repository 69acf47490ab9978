"""`deleted/step-N.json`: a snapshot whose weights `train.snapshots_total_limit` does not keep."""

from __future__ import annotations

from pydantic import Field

from shared.run_folder.records.manifest import Manifest
from shared.run_folder.records.record import Record
from shared.run_folder.times import utc_now


class DeletedSnapshot(Record):
    """Written before the weights go, so that a step without a folder has a reason."""

    snapshot: Manifest = Field(description="What the folder held: its files with size and digest, when it was made.")
    limit: int = Field(description="`train.snapshots_total_limit` at that time.")
    created: str = Field(default_factory=utc_now)

    @property
    def num_bytes(self) -> int:
        """That it took."""
        return sum(entry.size for entry in self.snapshot.files)
