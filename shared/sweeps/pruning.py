"""Whether a trial is surely worse than another one at the same number of steps. Pure.

Both are taken at their best so far, over the same held-out pairs and seeds; the difference is paired by prompts, as a
verdict's is. A trial is looked at after every snapshot and beside every other trial, so an interval is wider than one
by itself: of the error that a verdict allows, the k-th look may spend 1 / k(k + 1), shared by all rivals. All looks
together spend no more than the whole, however many there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.statistics.paired import LEVEL, Estimate, difference
from shared.sweeps.results import Results
from shared.sweeps.yardstick import Yardstick


@dataclass(frozen=True)
class SurelyWorse:
    """Why a trial is pruned."""

    rival: int
    step: int
    """At which both are compared."""
    worse: Estimate
    """By how much of the composite; its interval lies above 0."""

    def __str__(self) -> str:
        """In one sentence."""
        worse = self.worse
        return (
            f"at step {self.step} its best snapshot is surely worse than that of trial {self.rival}: composite "
            f"{worse.mean:+.2f} ({worse.low:+.2f} to {worse.high:+.2f}, {worse.num_prompts} prompts)"
        )


def surely_worse(
    trial: Results, rivals: Mapping[int, Results], yardstick: Yardstick, min_snapshots: int
) -> SurelyWorse | None:
    """The rival that a trial is surely and furthest behind; None: it may go on. rivals: by trial, those that have a
    snapshot as far as this trial has come."""
    look, step = len(trial.steps), max(trial.steps, default=0)
    ours = yardstick.best_of(trial)
    others = {number: rival for number, rival in rivals.items() if max(rival.steps, default=0) >= step}
    if look < min_snapshots or ours is None or not others:
        return None
    level = 1 - (1 - LEVEL) / (look * (look + 1)) / len(others)
    found: list[SurelyWorse] = []
    for number, rival in others.items():
        theirs = yardstick.best_of(rival, step)
        worse = difference(ours[1], theirs[1], level) if theirs else None
        if worse and worse.is_above_zero:
            found.append(SurelyWorse(number, step, worse))
    return max(found, key=lambda one: one.worse.low or 0.0, default=None)
