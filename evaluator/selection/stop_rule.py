"""Is going on worth it? Pure: a ranking in, advice with its reason in words out.

The rule looks ahead (futility, Lan & Wittes 1988): it speaks when even the upper bound of what the remaining steps can
bring does not matter. That no snapshot was surely better of late is no reason to stop: few prompts show little.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from evaluator.selection.ranking import Ranking
from evaluator.selection.trend import Ahead
from shared.config.schema import StopConfig
from shared.run_folder.phrase import Phrase, joined, phrase
from shared.run_folder.records.best import Advice

MIN_RECENT = 3
"""Snapshots: fewer have no scatter around a straight line."""


def advise_stop(ranking: Ranking, stop: StopConfig, num_steps: int) -> Advice:
    """Stop when the remaining steps can bring less than `ranking.min_difference`, or snapshots that may not be shipped.

    The trend is that of the newer half of the snapshots, at least `stop.patience`, beside those before. It is never
    carried further than the run has come: in the first half of the `num_steps` planned nothing is said of it. Nor is
    anything said before `stop.min_snapshots` are evaluated. Signs of overfitting at half of `stop.patience` snapshots
    in a row are a reason of their own: the choice passes them over, and what is learnt by heart is not forgotten.
    """
    if stop.rule == "off" or ranking.is_unmeasured or len(ranking.snapshots) < stop.min_snapshots:
        return Advice(action="continue")
    ahead, remaining = _ahead(ranking, stop.patience, num_steps), num_steps - ranking.snapshots[-1].step
    can_bring = ahead.at_most if ahead else None
    reasons = list(_signs(ranking, math.ceil(stop.patience / 2))) if remaining > 0 else []
    if ahead and ahead.at_most < ranking.min_difference:
        reasons = [_in_words(ahead, remaining, ranking.min_difference), *reasons]
    if not reasons:
        return Advice(action="continue", can_bring=can_bring)
    reason, action = joined("{one}; {other}", reasons), "stop" if stop.rule == "auto" else "advise"
    return Advice(action=action, reason=str(reason), reason_phrase=reason, can_bring=can_bring)


def _ahead(ranking: Ranking, patience: int, num_steps: int) -> Ahead | None:
    """What the remaining steps would bring; None where there are none, or too many to tell."""
    num_candidates, latest = len(ranking.snapshots), ranking.snapshots[-1].step
    num_recent = max(math.ceil(num_candidates / 2), patience, MIN_RECENT)
    if num_recent > num_candidates or not latest < num_steps <= 2 * latest:
        return None
    return ranking.trend.ahead(num_steps - latest, num_recent)


def _signs(ranking: Ranking, num_recent: int) -> Iterator[Phrase]:
    """Signs of overfitting at all of the newest snapshots, with the evidence at the last."""
    recent = ranking.snapshots[-num_recent:]
    if len(recent) < num_recent or not all(summary.raised for summary in recent):
        return
    if num_recent == 1:
        yield phrase("the newest snapshot shows signs of overfitting")
    else:
        yield phrase("the newest {count} snapshots show signs of overfitting", count=num_recent)
    for signal in recent[-1].signals:
        if signal.raised:
            yield phrase("{name}: {evidence}", name=signal.name, evidence=signal.said)


def _in_words(ahead: Ahead, remaining: int, min_difference: float) -> Phrase:
    facts = {"steps": remaining, "difference": min_difference, "count": ahead.num_snapshots}
    if ahead.at_most >= 0:
        return phrase(
            "the remaining {steps} steps will hardly improve the composite by {difference:g}, the least that matters: "
            "the trend of the last {count} snapshots would improve it by {bound:.2f} at most",
            **facts,
            bound=ahead.at_most,
        )
    return phrase(
        "the remaining {steps} steps will hardly improve the composite by {difference:g}, the least that matters: the "
        "trend of the last {count} snapshots would worsen it by {bound:.2f} at least",
        **facts,
        bound=-ahead.at_most,
    )
