"""What a tracker has been given of a run: kept in the run folder, so that a restart goes on where it was."""

from __future__ import annotations

from pydantic import Field

from shared.run_folder.records.record import Record


class Delivered(Record):
    """`trackers/<name>.json`; writer: that tracker's follower."""

    steps: dict[str, int] = Field(
        default_factory=dict[str, int],
        description="Table → last step delivered. Steps that a resumed run trains again are not delivered again.",
    )
    results: dict[int, str] = Field(
        default_factory=dict[int, str], description="Step of metrics.csv → status it was delivered with."
    )
    sheets: tuple[int, ...] = Field(default=(), description="Steps whose contact sheet was delivered.")
    best: str = Field(default="", description="Which best.json was delivered, see `follower.best_key`.")
