"""What trials are measured by: one base model's pictures of the same prompts, one composite."""

from __future__ import annotations

from dataclasses import dataclass

from shared.run_folder.compared import lead
from shared.statistics.composite import Mixture, mix, scales_of
from shared.statistics.paired import PromptValues, mean
from shared.sweeps.results import Evaluated, Results


@dataclass(frozen=True)
class Yardstick:
    """Of the first trial that has its base model evaluated."""

    base: Evaluated
    mixture: Mixture

    @classmethod
    def of(cls, results: Results) -> Yardstick | None:
        """None before the base model is evaluated, or where nothing counts."""
        base, descriptions = results.base, results.descriptions
        if base is None or base.status != "ok":
            return None
        mixture = mix(descriptions.losses, scales_of(base.samples, descriptions), base.samples)
        return cls(results.at(base.step), mixture) if mixture.units else None

    def composite(self, results: Results, step: int) -> PromptValues:
        """Prompt → composite of a snapshot: below 0 is better than the base model. Empty where nothing of it compares
        with the other trials, or it has no result yet."""
        if step not in results.composites:
            one = results.at(step)
            if one.evaluated is None:
                return {}
            gains = lead(one, self.base, self.mixture)
            results.composites[step] = {prompt: -gain for prompt, gain in gains.items()}
        return results.composites[step]

    def best_of(self, results: Results, until: int | None = None) -> tuple[int, PromptValues] | None:
        """The snapshot with the lowest mean composite up to a step, of those that may be shipped; of all, where none
        may. None: no snapshot compares."""
        steps = [step for step in results.steps if until is None or step <= until]
        allowed = [step for step in steps if step not in results.passed_over] or steps
        found = {step: values for step in allowed if (values := self.composite(results, step))}
        best = min(found, key=lambda step: (mean(found[step]), step), default=None)
        return None if best is None else (best, found[best])

    def chosen(self, results: Results) -> tuple[int, PromptValues] | None:
        """The snapshot that the verdict of the run has chosen."""
        if results.best is None or not (values := self.composite(results, results.best.step)):
            return None
        return results.best.step, values

    def by_step(self, results: Results) -> dict[int, float]:
        """Step of each snapshot → its mean composite."""
        found = {step: self.composite(results, step) for step in results.steps}
        return {step: mean(values) for step, values in found.items() if values}
