"""Signs of overfitting at one snapshot, each with its evidence in words: that of the held-out loss, and those that the
metrics describe. Pure.

A sign is raised only when chance is a poor explanation: by an interval over prompts that lies beyond a limit, or by a
trend over validations that few orders of the same numbers would show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scipy.stats import kendalltau

from evaluator.selection.held_out_losses import Validated
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.records import Sample, Signal
from shared.statistics import signs

TREND_P_VALUE = 0.01
MIN_TREND_LENGTH = 5
LOSS_TOLERANCE = 1.01
"""Times its lowest: below it the held-out loss has not risen."""


def signals(
    samples: Sequence[Sample],
    baseline: Sequence[Sample],
    validations: Sequence[Validated],
    metrics: MetricDescriptions,
) -> tuple[Signal, ...]:
    """All of them, of a snapshot beside step 0, and the validations up to its step."""
    return (gap_rising(validations), *signs.signs(samples, baseline, metrics.columns))


def gap_rising(validations: Sequence[Validated]) -> Signal:
    """The held-out loss has passed its lowest, and since then its gap to the training probe keeps growing.

    The trend is Kendall's τ over the validations after the lowest one: their order is all that is tested, so that
    having chosen where to begin does not flatter it.
    """
    known = [row for row in validations if row.gap is not None]
    if not known:
        return Signal(name="gap", raised=None, evidence="no held-out losses: see train.validation_steps")
    lowest, last = min(known, key=lambda row: row.held_out_loss), known[-1]
    since = [row for row in known if row.step > lowest.step]
    words = f"the held-out loss was lowest at step {lowest.step} ({lowest.held_out_loss:.4g})"
    if last.held_out_loss <= LOSS_TOLERANCE * lowest.held_out_loss:
        return Signal(name="gap", raised=False, evidence=f"{words} and is {last.held_out_loss:.4g} at step {last.step}")
    words += f", is {last.held_out_loss / lowest.held_out_loss - 1:.1%} higher at step {last.step}"
    if len(since) < MIN_TREND_LENGTH:
        return Signal(name="gap", raised=False, evidence=f"{words}; too few validations since to see a trend")
    trend: Any = kendalltau([row.step for row in since], [row.gap for row in since], alternative="greater")
    raised = bool(trend.pvalue < TREND_P_VALUE)
    words += f", and its gap to the training probe {'keeps growing' if raised else 'shows no trend'} since"
    return Signal(name="gap", raised=raised, evidence=f"{words} (Kendall's τ {trend.statistic:.2f})")
