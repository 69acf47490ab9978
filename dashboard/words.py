"""Numbers and times as people read them."""

from __future__ import annotations

import math


def duration(seconds: float) -> str:
    """Such as `8 s`, `3 min 20 s`, `2 h 05 min`, `4 d 3 h`; never more than two units."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def number(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits; a blank is a dash."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:#.{digits}g}".rstrip(".")


def signed(value: float) -> str:
    """A difference: three decimals, always with its sign, the true minus."""
    return f"{value:+.3f}".replace("-", "−")


def interval(low: float, high: float) -> str:
    """The ends of an interval of differences; a single prompt has none."""
    return f"[{signed(low)}, {signed(high)}]" if math.isfinite(low + high) else "no interval"


def plural(count: int, noun: str) -> str:
    """`1 snapshot`, `2 snapshots`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def metric_name(column: str) -> str:
    """`fashion_clip_loss` as people say it."""
    return {"fashion_clip_loss": "FashionCLIP loss", "clip_t": "CLIP text score"}.get(column, column.replace("_", " "))
