"""Times as records hold them: UTC, ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator


def utc_now() -> str:
    """The current time, such as `2026-01-31T12:00:00.123+00:00`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def parse_time(text: str) -> datetime:
    """The time a record holds, aware, in UTC."""
    return datetime.fromisoformat(text)


def _checked_time(text: str) -> str:
    try:
        time = parse_time(text)
        if time.tzinfo and time.astimezone(UTC):
            return text
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{text[:40]!r} is no time such as {utc_now()}")


Time = Annotated[str, AfterValidator(_checked_time)]
"""What `parse_time` reads."""


def seconds_since(text: str, now: datetime | None = None) -> float:
    """Age of a recorded time in seconds."""
    return ((now or datetime.now(UTC)) - parse_time(text)).total_seconds()
