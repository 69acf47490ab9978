"""The final: the best few snapshots judged again, on prompts and seeds that had no part in choosing them. Pure.

Who looks best of many has been lucky too. The second judgement knows nothing of the first one's luck, so it alone
decides among the finalists; its intervals hold for all of them at once (Bonferroni, see `verdict.Choice`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evaluator.selection.ranking import Choice, Verdict, judge
from shared.run_folder.pending import NUM_FINALISTS
from shared.run_folder.records import Confirmation, Interval, Sample
from shared.statistics.paired import mean


def finalists(verdict: Verdict, count: int = NUM_FINALISTS) -> tuple[int, ...]:
    """Steps to judge again, ascending: the best by composite among those that may be shipped, the chosen one always."""
    if verdict.best is None:
        return ()
    chosen = verdict.best.step
    ranked = sorted(verdict.eligible, key=lambda summary: (summary.step != chosen, mean(summary.composite)))
    return tuple(sorted(summary.step for summary in ranked[:count]))


def confirm(first: Choice, steps: Sequence[int], evaluations: Mapping[int, Sequence[Sample]]) -> Confirmation | None:
    """Choose among the finalists. evaluations: of step 0 and every finalist, all on the same further prompts.

    None while one of them, or a composite, is missing.
    """
    if 0 not in evaluations or not set(steps) <= evaluations.keys():
        return None
    second = judge({step: evaluations[step] for step in (0, *steps)}).best
    if second is None or second.num_evaluated < len(steps):
        return None
    num_pictures = len(evaluations[second.step])
    return Confirmation(
        step=second.step,
        finalists=tuple(steps),
        agrees=second.step == first.step,
        better_than_base=second.better_than_base,
        composite=_interval(second),
        num_prompts=second.composite.num_prompts,
        num_pictures=num_pictures,
        reason=_in_words(first, second, steps, num_pictures),
    )


def _in_words(first: Choice, second: Choice, steps: Sequence[int], num_pictures: int) -> str:
    """What a person reads."""
    names = f"Steps {', '.join(map(str, steps))} were" if len(steps) > 1 else f"Step {steps[0]} was"
    judged = f"{names} judged again on {second.composite.num_prompts} other prompts, {num_pictures} pictures each"
    if len(steps) == 1:
        outcome = ""
    elif second.step == first.step:
        outcome = ", which confirms the choice"
    else:
        outcome = f", which chose {second.step}, not {first.step}"
    sure = "better" if second.better_than_base else "not shown to be better"
    return f"{judged}{outcome}: there it is {sure} than the base model, and that counts."


def _interval(choice: Choice) -> Interval | None:
    found = choice.composite
    if found.low is None or found.high is None:
        return None
    return Interval(delta=found.mean, low=found.low, high=found.high)
