"""Which encoder gave numbers. Never imports torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class EncoderRecord(BaseModel):
    """Which encoder gave a metric its numbers, for every result; or why there is none."""

    model_config = ConfigDict(frozen=True)

    model: str = Field(description="Hub id or folder as configured, or the name of a method without weights.")
    revision: str | None = Field(default=None, description="Commit of the hub's snapshot; None for a folder.")
    digest: str | None = Field(default=None, description="sha256 of the weights; None without weights.")
    reason: str | None = Field(default=None, description="Why the encoder cannot be had; None when it can.")
