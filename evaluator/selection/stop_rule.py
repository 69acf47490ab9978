"""Is going on worth it? Pure: a ranking in, advice with its reason in words out.

The rule looks ahead (futility, Lan & Wittes 1988): it speaks when even the upper bound of what the remaining steps can
bring does not matter. That no snapshot was surely better of late is no reason to stop: few prompts show little.
"""

from __future__ import annotations

import math

from evaluator.selection.ranking import Ranking
from evaluator.selection.trend import Ahead
from shared.config.schema import StopConfig
from shared.run_folder.records.best import Advice

MIN_RECENT = 3
"""Snapshots: fewer have no scatter around a straight line."""


def advise_stop(ranking: Ranking, stop: StopConfig, num_steps: int) -> Advice:
    """Stop when the remaining steps can bring less than `ranking.min_difference`, or snapshots that may not be shipped.

    The trend is that of the newer half of the snapshots, at least `stop.patience`, and it is never carried further than
    the run has come: in the first half of the `num_steps` planned nothing is said of it. Nor is anything said before
    `stop.min_snapshots` are evaluated. Signs of overfitting at half of `stop.patience` snapshots in a row are a reason
    of their own: the choice passes them over, and what is learnt by heart is not forgotten.
    """
    if stop.rule == "off" or len(ranking.candidates) < stop.min_snapshots:
        return Advice(action="continue")
    ahead, remaining = _ahead(ranking, stop.patience, num_steps), num_steps - ranking.candidates[-1].step
    can_bring = ahead.at_most if ahead else None
    reason = _signs(ranking, math.ceil(stop.patience / 2)) if remaining > 0 else ""
    if ahead and ahead.at_most < ranking.min_difference:
        reason = "; ".join(filter(None, [_in_words(ahead, remaining, ranking.min_difference), reason]))
    if not reason:
        return Advice(action="continue", can_bring=can_bring)
    return Advice(action="stop" if stop.rule == "auto" else "advise", reason=reason, can_bring=can_bring)


def _ahead(ranking: Ranking, patience: int, num_steps: int) -> Ahead | None:
    """What the remaining steps would bring; None where there are none, or too many to tell."""
    num_candidates, latest = len(ranking.candidates), ranking.candidates[-1].step
    num_recent = max(math.ceil(num_candidates / 2), patience, MIN_RECENT)
    if num_recent > num_candidates or not latest < num_steps <= 2 * latest:
        return None
    return ranking.trend.ahead(num_steps - latest, num_recent)


def _signs(ranking: Ranking, num_recent: int) -> str:
    """Signs of overfitting at all of the newest snapshots, with the evidence at the last; empty without."""
    recent = ranking.candidates[-num_recent:]
    if len(recent) < num_recent or not all(summary.raised for summary in recent):
        return ""
    which = "the newest snapshot shows" if num_recent == 1 else f"the newest {num_recent} snapshots show"
    evidence = [f"{signal.name}: {signal.evidence}" for signal in recent[-1].signals if signal.raised]
    return "; ".join([f"{which} signs of overfitting", *evidence])


def _in_words(ahead: Ahead, remaining: int, min_difference: float) -> str:
    bound = (
        f"improve it by {ahead.at_most:.2f} at most"
        if ahead.at_most >= 0
        else f"worsen it by {-ahead.at_most:.2f} at least"
    )
    return (
        f"the remaining {remaining} steps will hardly improve the composite by {min_difference:g}, from which on it "
        f"matters: the trend of the last {ahead.num_snapshots} snapshots would {bound}"
    )
