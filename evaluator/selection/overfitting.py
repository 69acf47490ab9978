"""Signs of overfitting at one snapshot, each with its evidence in words. Pure.

A sign is raised only when chance is a poor explanation: by an interval over prompts that lies beyond a limit, or by a
trend over validations that few run_mode of the same numbers would show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scipy.stats import kendalltau

from evaluator.selection.held_out_losses import Validated
from shared.run_folder.records import Sample, Signal
from shared.statistics.paired import Estimate, by_prompt, ratio

DIVERSITY_LIMIT = 0.5
"""Pictures of one prompt differ less than this share of step 0's: some narrowing is what learning a concept means."""
COPYING_LIMIT = 0.8
"""Training pictures are nearer than this share of held-out pictures' distance; 1 is what chance gives."""
TREND_P_VALUE = 0.01
MIN_TREND_LENGTH = 5
LOSS_TOLERANCE = 1.01
"""Times its lowest: below it the held-out loss has not risen."""


def signals(
    samples: Sequence[Sample], baseline: Sequence[Sample], validations: Sequence[Validated]
) -> tuple[Signal, ...]:
    """All three, of a snapshot, step 0's pictures, and the validations up to the snapshot's step."""
    return gap_rising(validations), diversity_falling(diversity(samples, baseline)), copying(nearest_ratio(samples))


def diversity(samples: Sequence[Sample], baseline: Sequence[Sample]) -> Estimate | None:
    """How much the pictures of one prompt differ, relative to step 0's."""
    return ratio(by_prompt(samples, "seed_distance"), by_prompt(baseline, "seed_distance"))


def nearest_ratio(samples: Sequence[Sample]) -> Estimate | None:
    """Distance to the nearest training picture, relative to that to the nearest of as many held-out ones."""
    return ratio(by_prompt(samples, "nn_train"), by_prompt(samples, "nn_real"))


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


def diversity_falling(found: Estimate | None) -> Signal:
    """The pictures of one prompt have become nearly one picture."""
    if found is None or found.high is None:
        return Signal(name="diversity", raised=None, evidence="no prompt has two pictures: see evaluation.num_seeds")
    return Signal(
        name="diversity",
        raised=found.high < DIVERSITY_LIMIT,
        evidence=f"pictures of one prompt differ {_share(found)} as much as the base model's; under "
        f"{DIVERSITY_LIMIT:.0%} for sure would be a sign",
    )


def copying(found: Estimate | None) -> Signal:
    """Samples lie nearer to what was trained on than to what was not, though both are the same kind of picture."""
    if found is None or found.high is None:
        return Signal(name="copying", raised=None, evidence="the training pictures could not be compared")
    return Signal(
        name="copying",
        raised=found.high < COPYING_LIMIT,
        evidence=f"the nearest training picture is {_share(found)} as far away as the nearest of as many held-out "
        f"ones; under {COPYING_LIMIT:.0%} for sure would be a sign",
    )


def _share(found: Estimate) -> str:
    """Distances are not negative, whatever an interval over few prompts says."""
    low = max(0.0, found.low or 0.0)
    return f"{found.mean:.0%} ({low:.0%} to {found.high:.0%})"
