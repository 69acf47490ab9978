"""What a tracker has been given of a run: kept in the run folder, so that a restart goes on where it was."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from shared.run_folder.records.record import Record


class Delivered(Record):
    """`trackers/<name>.json`; writer: that tracker's follower."""

    destination: str = Field(default="", description="`Destination.id`: what is delivered, is delivered there.")
    steps: dict[str, int] = Field(
        default_factory=dict[str, int],
        description="Table → last step delivered. Steps that a resumed run trains again are not delivered again.",
    )
    results: dict[int, dict[str, str]] = Field(
        default_factory=dict[int, dict[str, str]],
        description="Step of metrics.csv → column → cell as it was delivered.",
    )
    sheets: tuple[int, ...] = Field(default=(), description="Steps whose contact sheet was delivered.")
    comparison: str = Field(default="", description="Of which snapshots the last comparison was: best and newest.")
    best: str = Field(default="", description="Which best.json was delivered, see `follower.best_key`.")
    model: str = Field(default="", description="Digest of the snapshot that was delivered as the one to ship.")

    @field_validator("results", mode="before")
    @classmethod
    def _of_an_older_version(cls, given: dict[str, Any]) -> dict[str, Any]:
        """It kept only the status."""
        return {step: {"status": cells} if isinstance(cells, str) else cells for step, cells in given.items()}
