"""The best of the other snapshots, and whether it can be told from the one to ship."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.story.evidence import Evidence
from dashboard.story.gains import num_lost, num_won
from dashboard.story.wording import of_units, units
from dashboard.text.language import say
from shared.run_folder.pending import BASE_MODEL
from shared.run_folder.records.best import Best
from shared.statistics.paired import mean


@dataclass(frozen=True)
class RunnerUp:
    """The best of the others."""

    step: int
    words: str


def runner_up(evidence: Evidence, best: Best) -> RunnerUp | None:
    """The best that is surely better than the base model, where the best of all is not.

    Else by its mean composite, among those that cannot be told from the best if there are any. None where the best is
    the only one that may be shipped.
    """
    values = {
        step: gained
        for step, result in evidence.results.items()
        if step not in (BASE_MODEL, best.step, *best.passed_over, *best.deleted)
        if (gained := evidence.gains.of(result))
    }
    close = [step for step in best.indistinguishable if step in values]
    if not values:
        return None
    sure = [step for step in best.surer if step in values][:1]
    step = max(sure or close or values, key=lambda step: (mean(values[step]), -step))
    won, lost = num_won(values[step]), num_lost(values[step])
    if lost:
        prompts = say("worse than {base} on {lost}", base=evidence.base, lost=units(lost, evidence.unit))
    else:
        all_of_them = of_units(won, len(values[step]), evidence.unit)
        prompts = say("better than {base} on {won}", base=evidence.base, won=all_of_them)
    if step in close:
        said = say("Step {step} is as good within the margin of error; {prompts}.", step=step, prompts=prompts)
    elif best.indistinguishable:
        said = say("Step {step} comes next and is clearly behind; {prompts}.", step=step, prompts=prompts)
    else:
        said = say("Step {step} comes next; {prompts}.", step=step, prompts=prompts)
    return RunnerUp(step, said)
