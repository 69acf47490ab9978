"""A paired difference with its interval, in records."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Interval(BaseModel):
    """A paired difference, to step 0 unless something else is said, with its 95 % t-interval over prompts."""

    model_config = ConfigDict(frozen=True)

    delta: float
    low: float
    high: float
