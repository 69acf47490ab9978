"""The final: the best few snapshots evaluated again, on prompts and seeds that had no part in choosing them. Pure.

Who looks best of many has been lucky too. The second evaluation knows nothing of the first one's luck, so it alone
decides among the finalists; its intervals hold for all of them at once (Bonferroni, see `choice.Selection`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evaluator.selection.choice import Selection
from evaluator.selection.ranking import Ranking, rank
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.pending import NUM_FINALISTS
from shared.run_folder.records import Confirmation, Interval, Sample
from shared.statistics.paired import mean


def finalists(ranking: Ranking, count: int = NUM_FINALISTS) -> tuple[int, ...]:
    """Steps to evaluate again, ascending: the best by composite of those that may be shipped, and the chosen one."""
    if ranking.best is None:
        return ()
    chosen = ranking.best.step
    ranked = sorted(ranking.eligible, key=lambda summary: (summary.step != chosen, mean(summary.composite)))
    return tuple(sorted(summary.step for summary in ranked[:count]))


def confirm(
    first: Selection, steps: Sequence[int], evaluations: Mapping[int, Sequence[Sample]], metrics: MetricDescriptions
) -> Confirmation | None:
    """Choose among the finalists. evaluations: of step 0 and every finalist, all on the same further prompts.

    None while one of them, or a composite, is missing.
    """
    if 0 not in evaluations or not set(steps) <= evaluations.keys():
        return None
    second = rank({step: evaluations[step] for step in (0, *steps)}, metrics).best
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


def _in_words(first: Selection, second: Selection, steps: Sequence[int], num_pictures: int) -> str:
    """What a person reads."""
    names = f"Steps {', '.join(map(str, steps))} were" if len(steps) > 1 else f"Step {steps[0]} was"
    evaluated = f"{names} evaluated again on {second.composite.num_prompts} other prompts, {num_pictures} pictures each"
    if len(steps) == 1:
        outcome = ""
    elif second.step == first.step:
        outcome = ", which confirms the choice"
    else:
        outcome = f", which chose {second.step}, not {first.step}"
    sure = "better" if second.better_than_base else "not shown to be better"
    return f"{evaluated}{outcome}: there it is {sure} than the base model, and that counts."


def _interval(selection: Selection) -> Interval | None:
    found = selection.composite
    if found.low is None or found.high is None:
        return None
    return Interval(delta=found.mean, low=found.low, high=found.high)
