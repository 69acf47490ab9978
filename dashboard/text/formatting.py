"""Numbers and times as people read them, in the viewer's language."""

from __future__ import annotations

import math
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dashboard.text.language import say
from shared.run_folder.metric_descriptions import COMPOSITE, Column

MIN_SKILL = -10.0


def duration(seconds: float) -> str:
    """Such as `8 s`, `3 min 20 s`, `2 h 05 min`, `4 d 3 h`; never more than two units."""
    whole = max(0, round(seconds))
    if whole < 60:
        return say("{s} s", s=whole)
    if whole < 3600:
        return say("{m} min {s} s", m=whole // 60, s=f"{whole % 60:02d}")
    if whole < 86400:
        return say("{h} h {m} min", h=whole // 3600, m=f"{whole % 3600 // 60:02d}")
    return say("{d} d {h} h", d=whole // 86400, h=whole % 86400 // 3600)


def number(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits; a blank is a dash."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:#.{digits}g}".rstrip(".")


def measured(column: Column, value: float | None) -> str:
    """A metric's number, as the terminal rounds it too; a blank is a dash."""
    if value is None or not math.isfinite(value):
        return "–"
    return column.spelled(value).replace("-", "−")


def signed(value: float, decimals: int = 3) -> str:
    """A difference: always with its sign, the true minus; a blank is a dash."""
    return f"{value:+.{decimals}f}".replace("-", "−") if math.isfinite(value) else "–"


def plain(value: float) -> str:
    """Two decimals, with the true minus."""
    return f"{value:.2f}".replace("-", "−")


def skilled(value: float) -> str:
    """A skill. Where the real pictures hardly differ, its scale is tiny, and a number far below 0 says no more."""
    return plain(value) if value >= MIN_SKILL else say("far below 0")


def interval(low: float, high: float, decimals: int = 3) -> str:
    """The ends of an interval of differences; a single prompt has none."""
    if not math.isfinite(low + high):
        return say("no interval")
    return f"[{signed(low, decimals)}, {signed(high, decimals)}]"


def interval_of(column: Column, low: float, high: float) -> str:
    """The same for a metric; in words where it is wider than all that the metric can be."""
    if math.isfinite(low + high) and not column.is_told(low, high):
        return say("unknown with so few prompts")
    return interval(low, high, column.decimals)


def difference(column: Column, delta: float, low: float, high: float) -> str:
    """To the base model or another run, in the metric's own direction, with its interval: the same in every place."""
    return f"{signed(delta, column.decimals)} {interval_of(column, low, high)}"


def size(num_bytes: float) -> str:
    """Such as `12.9 MB`, in powers of a thousand."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} TB"


def composite_column() -> Column:
    """The composite as if it were a metric of its own."""
    meaning = say("All metrics that count, weighed together, in units of their spread between prompts.")
    return Column(name=COMPOSITE[0], meaning=meaning, direction="lower", role="loss", weight=1.0, label="composite")


def metric_name(column: Column) -> str:
    """A metric's number as people call it."""
    return say(column.title)


def metric_title(column: Column) -> str:
    """With its unit, where it has one."""
    return f"{metric_name(column)}, {column.unit}" if column.unit else metric_name(column)


def zone_of(name: str | None) -> tzinfo:
    """The browser's time zone; UTC where it does not say."""
    try:
        return ZoneInfo(name or "UTC")
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return UTC
