"""Which setting wins, by how much, and whether seeds alone could make the difference. Pure.

Trials that differ by `train.seed` only are one setting. A setting's composite of a prompt is the mean over its trials,
so the interval to the runner-up is paired by prompts. That interval knows nothing of the luck of a training; the noise
floor does: the deviation between trials of one setting, pooled over settings (one-way analysis of variance).
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from shared.statistics.paired import LEVEL, Estimate, PromptValues, difference, mean
from shared.sweeps.record import Noise


@dataclass(frozen=True)
class Placed:
    """A trial that is done."""

    number: int
    setting: Hashable
    """The same for trials that differ by their seeds only."""
    composite: PromptValues
    """Of its best snapshot."""
    flagged: bool = False
    """None of its snapshots can be recommended."""


@dataclass(frozen=True)
class Setting:
    """Its trials, the first one first."""

    trials: tuple[Placed, ...]

    @property
    def first(self) -> Placed:
        """Of its trials."""
        return next(iter(self.trials))

    @property
    def composite(self) -> PromptValues:
        """Prompt → mean over the trials, of the prompts that all have."""
        shared = frozenset[str].intersection(*(frozenset(trial.composite) for trial in self.trials))
        return {
            prompt: math.fsum(trial.composite[prompt] for trial in self.trials) / len(self.trials) for prompt in shared
        }

    @property
    def mean(self) -> float:
        """Over prompts and trials."""
        return mean(self.composite)

    @property
    def flagged(self) -> bool:
        """Any of its trials is."""
        return any(trial.flagged for trial in self.trials)


@dataclass(frozen=True)
class Standing:
    """All settings that are done, the best first."""

    settings: tuple[Setting, ...]
    difference: Estimate | None
    """Winner minus runner-up: below 0 is better. Its interval holds for all settings at once."""
    noise: Noise | None
    """None: no setting has two seeds."""

    @property
    def within_noise(self) -> bool | None:
        """Whether seeds alone could make the difference; None: it cannot be told."""
        margin = self.noise.margin if self.noise else None
        return None if margin is None or self.difference is None else abs(self.difference.mean) <= margin


def standing(trials: Sequence[Placed]) -> Standing:
    """Of trials with a composite. A setting that may be shipped comes before one that may not. Where some have several
    seeds, these come before the others, because the best of many single trials is the luckiest one as well. Then the
    lower composite wins.
    """
    groups: dict[Hashable, list[Placed]] = {}
    for trial in trials:
        groups.setdefault(trial.setting, []).append(trial)
    settings = [Setting(tuple(group)) for group in groups.values()]
    settings = [setting for setting in settings if setting.composite]
    some_repeated = any(len(setting.trials) > 1 for setting in settings)
    ranked = sorted(
        settings, key=lambda one: (one.flagged, some_repeated and len(one.trials) < 2, one.mean, one.first.number)
    )
    level = 1 - (1 - LEVEL) / max(1, len(ranked) - 1)
    gap = difference(ranked[0].composite, ranked[1].composite, level) if len(ranked) > 1 else None
    return Standing(tuple(ranked), gap, _noise(ranked))


def best_settings(trials: Sequence[Placed], count: int) -> list[Hashable]:
    """Those to train again with other seeds, the best first, by their first trials."""
    first: Mapping[Hashable, Placed] = {trial.setting: trial for trial in reversed(trials) if trial.composite}
    ranked = sorted(first.values(), key=lambda one: (one.flagged, mean(one.composite), one.number))
    return [trial.setting for trial in ranked[:count]]


def _noise(ranked: Sequence[Setting]) -> Noise | None:
    """Of the mean composites of single trials."""
    repeated = [[mean(trial.composite) for trial in setting.trials] for setting in ranked if len(setting.trials) > 1]
    if not repeated:
        return None
    num_trials = sum(map(len, repeated))
    freedom = num_trials - len(repeated)
    squares = math.fsum((value - math.fsum(group) / len(group)) ** 2 for group in repeated for value in group)
    deviation = math.sqrt(squares / freedom)
    margin = None
    if len(ranked) > 1:
        per_trial = math.sqrt(sum(1 / len(setting.trials) for setting in ranked[:2]))
        margin = float(stdtrit(freedom, (1 + LEVEL) / 2)) * deviation * per_trial
    return Noise(deviation=deviation, num_settings=len(repeated), num_trials=num_trials, margin=margin)
