"""Columns that are ratios over prompts, and signs that a column raises when it lies beyond its limits for sure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shared.run_folder.metric_descriptions import Column, Sign
from shared.run_folder.phrase import Phrase, phrase
from shared.run_folder.records.best import Signal
from shared.run_folder.records.evaluation_result import Sample
from shared.statistics.paired import Estimate, by_prompt, estimate, ratio

TOLERANCE = 1.1
"""Times step 0's number, either way: how far a limit gives way to it."""


def ratios(
    samples: Sequence[Sample], baseline: Sequence[Sample], columns: Iterable[Column]
) -> dict[str, Estimate | None]:
    """Every column that is a ratio over prompts → its value; None where it cannot be computed."""
    return {column.name: _ratio(samples, baseline, column) for column in columns if column.ratio}


def signs(samples: Sequence[Sample], baseline: Sequence[Sample], columns: Iterable[Column]) -> tuple[Signal, ...]:
    """Of every column that has one. baseline: step 0's pictures; empty where there are none."""
    return tuple(
        _beyond_limits(column, column.sign, _value(samples, baseline, column), _value(baseline, baseline, column))
        for column in columns
        if column.sign
    )


def _value(samples: Sequence[Sample], baseline: Sequence[Sample], column: Column) -> Estimate | None:
    if column.ratio:
        return _ratio(samples, baseline, column)
    return estimate(by_prompt(samples, column.name).values())


def _ratio(samples: Sequence[Sample], baseline: Sequence[Sample], column: Column) -> Estimate | None:
    assert column.ratio
    over = baseline if column.ratio.at_step_0 else samples
    return ratio(by_prompt(samples, column.ratio.of), by_prompt(over, column.ratio.over))


def _beyond_limits(column: Column, sign: Sign, found: Estimate | None, base: Estimate | None) -> Signal:
    """Raised where the whole interval lies on the worse side of a limit; of `each`, where the share is above it."""
    if sign.each and found is not None:
        share = phrase("none") if found.mean == 0 else f"{found.mean:.0%}"
        return Signal.told(sign.name, found.mean > sign.limit, Phrase(text=sign.evidence, values={"value": share}))
    if found is None or found.low is None or found.high is None:
        return Signal.told(sign.name, None, Phrase(text=sign.unknown))
    above, below = _limits(column, sign, base if sign.beside_base else None)
    raised = (above is not None and found.low > above) or (below is not None and found.high < below)
    limit, low = (above, below) if sign.low is not None else (below if above is None else above, None)
    words: dict[str, Phrase | str | int | float] = {
        "value": _spelled(column, found),
        "limit": _limit(column, limit),
        "low": _limit(column, low),
    }
    return Signal.told(sign.name, raised, Phrase(text=sign.evidence, values=words))


def _limits(column: Column, sign: Sign, base: Estimate | None) -> tuple[float | None, float | None]:
    """(above which, below which) a number is a sign."""
    above = None if column.direction == "higher" else sign.limit
    below = sign.limit if column.direction == "higher" else sign.low
    if base is not None:
        above = None if above is None else max(above, base.mean * TOLERANCE)
        below = None if below is None else min(below, base.mean / TOLERANCE)
    return above, below


def _spelled(column: Column, found: Estimate) -> Phrase:
    """With its interval; a ratio in percent, and not negative, whatever an interval over few prompts says."""
    ends = (found.mean, max(0.0, found.low or 0.0) if column.ratio else found.low, found.high)
    mean, low, high = (f"{end:.0%}" if column.ratio else f"{end:.{column.decimals}f}" for end in ends)
    return phrase("{mean} ({low} to {high})", mean=mean, low=low, high=high)


def _limit(column: Column, limit: float | None) -> str:
    if limit is None:
        return ""
    return f"{limit:.0%}" if column.ratio else f"{limit:.{column.decimals}f}"
