"""How often a verdict of so many prompts would see a gain of a given size."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import math

from scipy.special import nctdtr, stdtrit

from shared.statistics.paired import LEVEL

LARGE_GAIN = 2.8
"""A mean gain of the composite, in standard deviations over prompts: that of the demo's best snapshot, a large one."""


def detectable(num_prompts: int, num_snapshots: int = 1) -> float:
    """The mean gain from which on the interval of the best of so many snapshots excludes zero.

    In standard deviations of the gain over prompts: t / √n, with t at the level that holds for all snapshots at once
    (Bonferroni). num_prompts: at least 2.
    """
    return _critical(num_prompts, num_snapshots) / math.sqrt(num_prompts)


def chance(gain: float, num_prompts: int, num_snapshots: int) -> float:
    """The share of runs in which a gain is called better than the base model (noncentral t), 0…1.

    gain: true mean, in standard deviations over prompts. 0 with a single prompt: it has no interval.
    """
    if num_prompts < 2:
        return 0.0
    beyond = nctdtr(num_prompts - 1, gain * math.sqrt(num_prompts), _critical(num_prompts, num_snapshots))
    return 1 - float(beyond)


def _critical(num_prompts: int, num_snapshots: int) -> float:
    return float(stdtrit(num_prompts - 1, 1 - (1 - LEVEL) / num_snapshots / 2))
