"""Two runs beside one another, each by one evaluated snapshot: what compares, and how much better one is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from shared.run_folder.records.evaluation_result import EvaluationResult, Sample
from shared.statistics.composite import Mixture, composite
from shared.statistics.paired import PromptValues, by_prompt

DRAWN_ALIKE = ("scheduler", "num_inference_steps", "guidance_scale", "resolution")
"""Settings of a picture without which its numbers do not compare."""


class Compared(Protocol):
    """A run, as far as it is compared."""

    @property
    def evaluated(self) -> EvaluationResult | None:
        """The snapshot's; None: it has none yet."""

    @property
    def references(self) -> Mapping[str, str]:
        """Pair id → digest of the real picture it is evaluated by."""
        ...


def shared_pairs(one: Compared, other: Compared) -> frozenset[str]:
    """Ids of the held-out pairs that both runs drew with the same caption and settings, and compared with the same real
    picture; empty where nothing of the two compares."""
    if one.evaluated is None or other.evaluated is None:
        return frozenset()
    if _drawn(one.evaluated) != _drawn(other.evaluated):
        return frozenset()
    return frozenset(pair for pair, _, _ in _pairs(one, one.evaluated) & _pairs(other, other.evaluated))


def seen_alike(one: Compared, other: Compared, name: str) -> bool:
    """Whether the same encoder stands behind a metric of both."""
    ours, theirs = (_seen_with(run.evaluated, name) if run.evaluated else None for run in (one, other))
    return ours == theirs


def samples_of(evaluated: EvaluationResult, pairs: frozenset[str]) -> list[Sample]:
    """Those of these pairs."""
    return [sample for sample in evaluated.samples if sample.prompt_id in pairs]


def lead(one: Compared, other: Compared, mixture: Mixture) -> PromptValues:
    """Prompt → how much better `one` is, in all that is weighed and that both have alike, in units of the composite;
    empty where that is nothing."""
    if one.evaluated is None or other.evaluated is None:
        return {}
    pairs = shared_pairs(one, other)
    ours, theirs = samples_of(one.evaluated, pairs), samples_of(other.evaluated, pairs)
    deltas: dict[str, PromptValues] = {}
    shares = mixture.shares or mixture.shares_alone
    for name in shares:
        mine, its = by_prompt(ours, name), by_prompt(theirs, name)
        if seen_alike(one, other, name) and mine.keys() & its.keys():
            deltas[name] = {prompt: mine[prompt] - its[prompt] for prompt in mine if prompt in its}
    total = sum(shares[name] for name in deltas)
    usable = Mixture({name: shares[name] / total for name in deltas}, mixture.units)
    return {prompt: -value for prompt, value in composite(deltas, usable).items()}


def _drawn(evaluated: EvaluationResult) -> list[Any]:
    return [evaluated.generation.get(key) for key in DRAWN_ALIKE]


def _pairs(one: Compared, evaluated: EvaluationResult) -> set[tuple[str, str, str]]:
    pairs = {sample.prompt_id: sample.prompt for sample in evaluated.samples}
    return {(pair, prompt, one.references.get(pair, "")) for pair, prompt in pairs.items()}


def _seen_with(evaluated: EvaluationResult, name: str) -> Any:
    """The encoder behind a metric: its weights, wherever they lie; its name where it has none."""
    encoder: dict[str, Any] = evaluated.encoders.get(name) or {}
    return encoder.get("digest") or encoder
