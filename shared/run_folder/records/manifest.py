"""`manifest.json` of a published folder."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.files.combined_digest import combined_digest
from shared.run_folder.records.record import Record
from shared.run_folder.times import utc_now


class FileEntry(BaseModel):
    """One file of a published folder."""

    model_config = ConfigDict(frozen=True)

    name: str
    size: int = Field(description="Bytes.")
    sha256: str
    mtime_ns: int | None = Field(
        default=None,
        description="When the file that a link leads to had last changed as its digest was taken; null: it is no link.",
    )


class Manifest(Record):
    """`manifest.json` of a published folder: what is in it. Written last; its presence means the folder is whole."""

    kind: Literal["snapshot", "checkpoint", "evaluation", "references", "dataset"]
    run_id: str
    step: int = Field(ge=0)
    created: str = Field(default_factory=utc_now)
    details: dict[str, Any] = Field(default_factory=dict, description="Kind-specific facts: loss, epoch, rank …")
    files: tuple[FileEntry, ...] = ()

    def digest(self) -> str:
        """One sha256 for the whole folder: over names and digests of its files."""
        return combined_digest(f"{entry.name}:{entry.sha256}" for entry in self.files)
