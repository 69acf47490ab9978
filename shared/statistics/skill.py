"""A loss on the scale that the run's references give it."""

from __future__ import annotations

from shared.run_folder.records.evaluation_result import Anchors
from shared.statistics.paired import Estimate


def has_scale(ends: Anchors, worsening: int = 1) -> bool:
    """Whether a real picture of another prompt is worse than the most similar one; worsening: see `Column`."""
    return worsening * (ends.shuffled - ends.real) > 0


def skill(losses: Estimate, ends: Anchors) -> Estimate:
    """A loss and its interval on the scale from floor (0) to ceiling (1); the ends count as exact."""
    unit = ends.shuffled - ends.real

    def scaled(value: float | None) -> float | None:
        return None if value is None else (ends.shuffled - value) / unit

    error = None if losses.standard_error is None else losses.standard_error / abs(unit)
    low, high = (losses.high, losses.low) if unit > 0 else (losses.low, losses.high)
    return Estimate((ends.shuffled - losses.mean) / unit, error, scaled(low), scaled(high), losses.num_prompts)
