"""How far each snapshot is from the base model, prompt by prompt, as the evaluator weighs it."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from dashboard.data.reader import RunReader, version_of
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample
from shared.statistics.composite import composite, mix, scales_of
from shared.statistics.paired import PromptValues, paired_deltas, prompts


class Gains:
    """Of the evaluated snapshots over one base model; what was computed is kept."""

    def __init__(self, baseline: Sequence[Sample], metrics: MetricDescriptions) -> None:
        self._baseline, self._metrics = baseline, metrics
        self.scales = scales_of(baseline, metrics)
        """Metric → one unit of it."""
        self._mixture = mix(metrics.losses, self.scales, baseline)
        self._kept: dict[int, tuple[str, PromptValues]] = {}

    def deltas(self, result: EvaluationResult, metric: str) -> PromptValues:
        """A metric's difference to the base model, by prompt, in the metric's own direction."""
        return paired_deltas(result.samples, self._baseline, metric)

    def of(self, result: EvaluationResult) -> PromptValues:
        """Prompt → its composite with the sign turned: more is better; empty where there is none."""
        kept = self._kept.get(result.step)
        if kept is None or kept[0] != result.created:
            deltas = {column.name: self.deltas(result, column.name) for column in self._metrics.losses}
            weighed = composite(deltas, self._mixture)
            better = {prompt: -value for prompt, value in weighed.items() if isfinite(value)}
            self._kept[result.step] = kept = (result.created, better)
        return kept[1]

    def of_pictures(self, result: EvaluationResult) -> dict[tuple[str, int], float]:
        """(pair id, seed) → likewise of a single picture; a prompt's gain is the mean of its pictures'."""
        before = {(sample.prompt_id, sample.seed): sample.metrics for sample in self._baseline}
        unit_of, better = prompts(result.samples), dict[tuple[str, int], float]()
        for sample in result.samples:
            key, shares = (sample.prompt_id, sample.seed), self._mixture.of(unit_of[sample.prompt_id])
            pairs = {name: (sample.metrics.get(name), before.get(key, {}).get(name)) for name in shares}
            known = {name: one - other for name, (one, other) in pairs.items() if one is not None and other is not None}
            if shares and len(known) == len(shares):
                weighed = sum(share * known[name] / self._mixture.units[name] for name, share in shares.items())
                better |= {key: -weighed} if isfinite(weighed) else {}
        return better


def gains(reader: RunReader, base: EvaluationResult | None) -> Gains:
    """Those of a run, computed once for all viewers. base: the base model's result, if there is one."""
    best = reader.best()
    not_counted = best.not_counted if best else ()
    key = ("gains", base.created if base else "", version_of(reader.run.metric_descriptions), not_counted)
    return reader.keep(key, lambda: Gains(base.samples if base else (), reader.descriptions.without(not_counted)))


def num_won(values: PromptValues) -> int:
    """Prompts that are better."""
    return sum(value > 0 for value in values.values())


def num_lost(values: PromptValues) -> int:
    """Prompts that are worse."""
    return sum(value < 0 for value in values.values())
