"""Paired statistics over prompts: pictures meet step 0's of the same pair and seed, and the prompt is the unit.

Pictures are averaged within a prompt and intervals are Student's over prompts, because pictures of one prompt are not
independent: bootstrapping them covers 76 % where 95 % is claimed. Held-out pairs with the same caption are one prompt.
Blanks (None) are left out, never filled in.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from shared.run_folder.records.evaluation_result import Sample

LEVEL = 0.95
"""Confidence of an interval unless another is asked for."""

PromptValues = dict[str, float]
"""Prompt → one number."""


@dataclass(frozen=True)
class Estimate:
    """A mean over prompts with its two-sided t-interval."""

    mean: float
    standard_error: float | None
    """None with a single prompt, as is the interval: one prompt says nothing about others."""
    low: float | None
    high: float | None
    num_prompts: int

    @property
    def is_below_zero(self) -> bool:
        """The whole interval is; for a loss: better than step 0."""
        return self.high is not None and self.high < 0

    @property
    def is_above_zero(self) -> bool:
        """The whole interval is; for a loss: worse than step 0."""
        return self.low is not None and self.low > 0


def estimate(values: Iterable[float], level: float = LEVEL) -> Estimate | None:
    """Mean of one value per prompt, with its t-interval at `level`; None of nothing."""
    sample = np.fromiter(values, dtype=float)
    if not len(sample):
        return None
    standard_error = float(sample.std(ddof=1)) / math.sqrt(len(sample)) if len(sample) > 1 else None
    return _with_interval(float(sample.mean()), standard_error, len(sample), level)


def prompts(samples: Iterable[Sample]) -> dict[str, str]:
    """Pair id → its prompt: the caption, or the id where no caption is recorded.

    Where all pairs have one caption, each pair is its own unit: then nothing can be said of other captions, and of this
    one the pictures are independent draws.
    """
    captions = {sample.prompt_id: sample.prompt or sample.prompt_id for sample in samples}
    return captions if len(set(captions.values())) > 1 else {pair: pair for pair in captions}


def share_one_prompt(samples: Iterable[Sample]) -> bool:
    """Whether several pairs all have the same caption, so that nothing can be said of other captions."""
    captions = {sample.prompt_id: sample.prompt or sample.prompt_id for sample in samples}
    return len(captions) > 1 and len(set(captions.values())) == 1


def by_prompt(samples: Sequence[Sample], metric: str) -> PromptValues:
    """The metric, averaged over the pictures of each prompt."""
    prompt_of = prompts(samples)
    return _averaged((prompt_of[sample.prompt_id], sample.metrics.get(metric)) for sample in samples)


def paired_deltas(samples: Sequence[Sample], baseline: Iterable[Sample], metric: str) -> PromptValues:
    """The metric minus the baseline's, paired by pair and seed, averaged over the pictures of each prompt."""
    before = {(sample.prompt_id, sample.seed): sample.metrics.get(metric) for sample in baseline}
    prompt_of = prompts(samples)
    return _averaged(
        (prompt_of[sample.prompt_id], _minus(sample.metrics.get(metric), before.get((sample.prompt_id, sample.seed))))
        for sample in samples
    )


def difference(one: PromptValues, other: PromptValues, level: float = LEVEL) -> Estimate | None:
    """`one` − `other` over the prompts that both have."""
    return estimate((one[prompt] - other[prompt] for prompt in sorted(one.keys() & other.keys())), level)


def ratio(one: PromptValues, other: PromptValues) -> Estimate | None:
    """Mean of `one` over mean of `other`, over the prompts that both have (Cochran 1977, § 6.3).

    The ratio of means and not the mean of ratios: a prompt whose `other` is next to nothing must not decide alone.
    None when there is no prompt, or `other` is nothing but zeros.
    """
    prompts = sorted(one.keys() & other.keys())
    total = math.fsum(other[prompt] for prompt in prompts)
    if not prompts or total <= 0:
        return None
    center = math.fsum(one[prompt] for prompt in prompts) / total
    residuals = estimate(one[prompt] - center * other[prompt] for prompt in prompts)
    error = residuals.standard_error if residuals else None
    standard_error = None if error is None else error / (total / len(prompts))
    return _with_interval(center, standard_error, len(prompts), LEVEL)


def mean(values: PromptValues) -> float:
    """Over prompts; of at least one."""
    return math.fsum(values.values()) / len(values)


def spread(values: PromptValues) -> float:
    """Standard deviation over prompts; 0 below two prompts."""
    return float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else 0.0


def _with_interval(center: float, standard_error: float | None, num_prompts: int, level: float) -> Estimate:
    if standard_error is None:
        return Estimate(center, None, None, None, num_prompts)
    half_width = float(stdtrit(num_prompts - 1, (1 + level) / 2)) * standard_error
    return Estimate(center, standard_error, center - half_width, center + half_width, num_prompts)


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _averaged(values: Iterable[tuple[str, float | None]]) -> PromptValues:
    grouped: defaultdict[str, list[float]] = defaultdict(list)
    for prompt, value in values:
        if value is not None:
            grouped[prompt].append(value)
    return {prompt: math.fsum(group) / len(group) for prompt, group in grouped.items()}
