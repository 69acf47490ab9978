"""Signs of overfitting at one snapshot, each with its evidence in words: that of the held-out loss, and those that the
metrics describe. Pure.

A sign is raised only when chance is a poor explanation: by an interval over prompts that lies beyond a limit, or by a
test over the examples that losses are measured on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy.stats import ttest_1samp, ttest_ind

from evaluator.selection.held_out_losses import Validated
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.phrase import Phrase, phrase
from shared.run_folder.records.best import Signal
from shared.run_folder.records.evaluation_result import Sample
from shared.statistics import signs

P_VALUE = 0.05
MEDIAN_OF_NORMAL = 0.6745
"""Median of the absolute value of a standard normal number."""
MIN_SINCE_LOWEST = 3
"""Validations after the lowest: with fewer, no rise is more than the steps of a random walk like its own."""
LOSS_TOLERANCE = 1.01
"""Times its lowest: below it the held-out loss has not risen."""


def signals(
    samples: Sequence[Sample],
    baseline: Sequence[Sample],
    validations: Sequence[Validated] | None,
    metrics: MetricDescriptions,
) -> tuple[Signal, ...]:
    """All but those of probes, of a snapshot beside step 0, and the validations up to its step; None: another program
    trains."""
    return (gap_rising(validations), *signs.signs(samples, baseline, metrics.of_samples))


def gap_rising(validations: Sequence[Validated] | None) -> Signal:
    """The held-out loss has passed its lowest, and the losses of the probe have not followed it.

    Three things must hold since the lowest: the mean has risen by more than `LOSS_TOLERANCE`, and by more than a random
    walk of steps like its own would carry it; the held-out examples agree that they have got worse; and they have got
    worse than the training examples, which share the wandering of the weights. The last is Welch's test over examples,
    shared among as many validations as the lowest was chosen from and looked at after.
    """
    if validations is None:
        return Signal.told("gap", None, phrase("another program trains, and tells no held-out loss"))
    known = [row for row in validations if row.held_out and row.probe]
    if not known:
        return Signal.told("gap", None, _without_losses(is_validated=bool(validations)))
    lowest, last = min(known, key=lambda row: row.held_out_loss), known[-1]
    facts = {"lowest": lowest.step, "least": lowest.held_out_loss, "last": last.step}
    rise = last.held_out_loss / lowest.held_out_loss - 1
    if last is lowest:
        least = phrase("the held-out loss is at its lowest at step {last} ({least:.4g})", **facts)
        return Signal.told("gap", False, least)
    if last.held_out_loss <= LOSS_TOLERANCE * lowest.held_out_loss:
        same = phrase(
            "the held-out loss was lowest at step {lowest} ({least:.4g}) and is {loss:.4g} at step {last}",
            **facts,
            loss=last.held_out_loss,
        )
        return Signal.told("gap", False, same)
    if not _is_more_than_wandering(known[known.index(lowest) :]):
        wanders = phrase(
            "the held-out loss was lowest at step {lowest} ({least:.4g}) and is {rise:.1%} higher at step {last}, no "
            "more than it wanders",
            **facts,
            rise=rise,
        )
        return Signal.told("gap", False, wanders)
    held_out, probe = (_changes(lowest, last, part) for part in ("held_out", "probe"))
    agree: Any = ttest_1samp(held_out, 0, alternative="greater")
    apart: Any = ttest_ind(held_out, probe, equal_var=False, alternative="greater")
    raised = bool(agree.pvalue < P_VALUE and apart.pvalue < P_VALUE / len(known))
    rose, others = (float(np.expm1(np.mean(changes))) for changes in (held_out, probe))
    sure = phrase("which chance does not explain") if raised else phrase("which may be chance")
    risen = phrase(
        "the held-out loss was lowest at step {lowest} ({least:.4g}) and is {rise:.1%} higher at step {last}; since "
        "then the loss of a held-out example changed by {held_out:+.1%}, of a training example by {probe:+.1%}, {sure}",
        **facts,
        rise=rise,
        held_out=rose,
        probe=others,
        sure=sure,
    )
    return Signal.told("gap", raised, risen)


def _without_losses(*, is_validated: bool) -> Phrase:
    if is_validated:
        return phrase("no held-out losses of single examples: see train.validation_steps")
    return phrase("no held-out losses: see data.num_validation and train.validation_steps")


def _is_more_than_wandering(since: Sequence[Validated]) -> bool:
    """Whether the last loss is further above the first than a random walk of such steps gets as a rule."""
    steps = np.diff(np.log([row.held_out_loss for row in since]))
    usual_step = float(np.median(np.abs(steps))) / MEDIAN_OF_NORMAL
    return bool(steps.sum() > usual_step * len(steps) ** 0.5)


def _changes(before: Validated, after: Validated, part: Literal["held_out", "probe"]) -> list[float]:
    """How the logarithm of each example's loss has changed."""
    first, second = (row.held_out if part == "held_out" else row.probe for row in (before, after))
    return [math.log(second[example] / loss) for example, loss in first.items() if example in second]
