"""Signs of overfitting at one snapshot, each with its evidence in words: that of the held-out loss, and those that the
metrics describe. Pure.

A sign is raised only when chance is a poor explanation: by an interval over prompts that lies beyond a limit, or by a
trend over validations that few orders of the same numbers would show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import kendalltau

from evaluator.selection.held_out_losses import Validated
from shared.run_folder.metric_descriptions import Column, MetricDescriptions, Sign
from shared.run_folder.records import Sample, Signal
from shared.statistics.paired import Estimate, by_prompt, estimate, ratio

TREND_P_VALUE = 0.01
MIN_TREND_LENGTH = 5
LOSS_TOLERANCE = 1.01
"""Times its lowest: below it the held-out loss has not risen."""


Ratios = Mapping[str, Estimate | None]


def signals(
    samples: Sequence[Sample], ratios: Ratios, validations: Sequence[Validated], metrics: MetricDescriptions
) -> tuple[Signal, ...]:
    """All of them, of a snapshot, its ratios, and the validations up to its step."""
    told = [gap_rising(validations)]
    for column in metrics.columns:
        if column.sign:
            plain = None if column.ratio else estimate(by_prompt(samples, column.name).values())
            told.append(beyond_limit(column, column.sign, ratios.get(column.name, plain)))
    return tuple(told)


def ratios(
    samples: Sequence[Sample], baseline: Sequence[Sample], metrics: MetricDescriptions
) -> dict[str, Estimate | None]:
    """Every column that is a ratio over prompts → its value; None where it cannot be computed."""
    return {
        column.name: ratio(
            by_prompt(samples, column.ratio.of),
            by_prompt(baseline if column.ratio.at_step_0 else samples, column.ratio.over),
        )
        for column in metrics.columns
        if column.ratio
    }


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


def beyond_limit(column: Column, sign: Sign, found: Estimate | None) -> Signal:
    """The whole interval lies on the worse side of the limit."""
    if found is None or found.low is None or found.high is None:
        return Signal(name=sign.name, raised=None, evidence=sign.unknown)
    raised = found.high < sign.limit if column.direction == "higher" else found.low > sign.limit
    limit = f"{sign.limit:.0%}" if column.ratio else f"{sign.limit:.{column.decimals}f}"
    return Signal(
        name=sign.name, raised=raised, evidence=sign.evidence.format(value=_spelled(column, found), limit=limit)
    )


def _spelled(column: Column, found: Estimate) -> str:
    """With its interval; a ratio in percent, and not negative, whatever an interval over few prompts says."""
    if not column.ratio:
        return f"{found.mean:.{column.decimals}f} ({found.low:.{column.decimals}f} to {found.high:.{column.decimals}f})"
    return f"{found.mean:.0%} ({max(0.0, found.low or 0.0):.0%} to {found.high:.0%})"
