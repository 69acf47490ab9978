"""The final: the best few snapshots evaluated again, with new seeds, and on further prompts if pairs are left. Pure.

Both evaluations count, each picture alike: the first one's luck is outweighed, not thrown away. The trend over all
snapshots still lends its strength: three finalists alone chose worse than the first evaluation where a run gains to its
last step. Who looks best of many has been lucky, also on the prompts that both evaluations share. The interval is
therefore as wide as if every snapshot had been evaluated again (Bonferroni over all of them), and holds whichever is
chosen.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from evaluator.selection.choice import listed, over, with_interval
from evaluator.selection.held_out_losses import Validated
from evaluator.selection.ranking import Ranking, rank
from evaluator.selection.record import interval
from evaluator.selection.summary import Summary
from shared.run_folder.metric_descriptions import Words
from shared.run_folder.phrase import Phrase, joined, phrase
from shared.run_folder.records.best import Confirmation
from shared.run_folder.records.evaluation_result import Sample
from shared.statistics.paired import LEVEL, Estimate, estimate, prompts

Evaluations = Mapping[int, Sequence[Sample]]
NUM_FINALISTS = 3
"""Unless a config says otherwise (`evaluation.finalists`)."""


def finalists(ranking: Ranking, count: int = NUM_FINALISTS) -> tuple[int, ...]:
    """Steps to evaluate again, ascending: the best by composite of those that may be shipped, and the chosen one."""
    if ranking.best is None:
        return ()
    chosen, level = ranking.best.step, ranking.trend.level
    ranked = sorted(ranking.eligible, key=lambda summary: (summary.step != chosen, level(summary.step)))
    return tuple(sorted(summary.step for summary in ranked[:count]))


def confirm(
    first: Ranking,
    evaluations: Evaluations,
    again: Evaluations,
    validations: Sequence[Validated] | None = (),
    count: int = NUM_FINALISTS,
) -> Confirmation | None:
    """Choose among `count` finalists by all their pictures. again: of step 0 and every finalist, evaluated again.

    None while one of them is missing, or a composite, or where there is no new picture.
    """
    steps = finalists(first, count)
    if first.best is None or not {0, *steps} <= again.keys():
        return None
    added = {step: _new(evaluations[step], again[step]) for step in (0, *steps)}
    both = {step: [*samples, *added.get(step, ())] for step, samples in evaluations.items()}
    pooled = rank(both, first.metrics, validations=validations, scales=first.scales, deleted=first.deleted)
    finals = {summary.step: summary for summary in pooled.candidates if summary.step in steps}
    if len(finals) < len(steps) or not all(added.values()):
        return None
    seen = {summary.step: summary.composite.keys() for summary in first.candidates}
    levels = {step: _level(pooled, summary, seen[step]) for step, summary in finals.items()}
    chosen = finals[_choose(first, levels, _passed_over(pooled, finals))]
    level = 1 - (1 - LEVEL) / first.best.num_evaluated
    found = estimate(chosen.composite.values(), level)
    assert found is not None, "a candidate has a composite"
    unit = prompts(both[0])
    drawn_again = {unit[sample.prompt_id] for sample in added[0]}
    same = drawn_again & {unit[sample.prompt_id] for sample in evaluations[0]}
    sentences = (
        _sureness(chosen.step, found, first.metrics.words, one_prompt=pooled.one_prompt),
        _how(steps, len(same), len(drawn_again - same), _num_seeds(added[0]), pooled),
        *_left_out(first, steps),
        _outcome(first.best.step, levels, chosen.step),
        *(
            phrase("Step {step} {reason} and was passed over.", step=step, reason=pooled.objections[step])
            for step in _passed_over(pooled, finals)
        ),
    )
    return Confirmation(
        step=chosen.step,
        finalists=steps,
        agrees=chosen.step == first.best.step,
        better_than_base=found.is_below_zero,
        composite=interval(found),
        num_prompts=found.num_prompts,
        num_unseen=len(drawn_again - same),
        num_pictures=len(added[chosen.step]),
        proven=_proven(pooled, finals, levels, level),
        flagged=chosen.step in pooled.flagged,
        reason=" ".join(map(str, sentences)),
        reason_phrases=sentences,
    )


def _choose(first: Ranking, levels: Mapping[int, float], left_out: Collection[int]) -> int:
    """The step of the best finalist, or of the earliest that is as good for any purpose where that is preferred."""
    level = {step: value for step, value in levels.items() if step not in left_out}
    top = min(level, key=lambda step: level[step])
    close = [step for step in level if level[step] - level[top] < first.min_difference]
    return top if first.prefer == "best" else min(close)


def _level(pooled: Ranking, summary: Summary, seen: Collection[str]) -> float:
    """Mean composite over prompts: smoothed over all snapshots on those that all have, as it is on the unseen ones."""
    unseen = [value for prompt, value in summary.composite.items() if prompt not in seen]
    num_seen = len(summary.composite) - len(unseen)
    return (num_seen * pooled.trend.level(summary.step) + math.fsum(unseen)) / len(summary.composite)


def _passed_over(pooled: Ranking, finals: Collection[int]) -> list[int]:
    """Finalists that may not be shipped; none where that holds for all."""
    flagged = [step for step in finals if step in pooled.passed_over]
    return flagged if len(flagged) < len(finals) else []


def _proven(
    pooled: Ranking, finals: Mapping[int, Summary], levels: Mapping[int, float], level: float
) -> tuple[int, ...]:
    """Finalists that may be shipped and are surely better than step 0, the best first."""
    able = [step for step in finals if step not in _passed_over(pooled, finals)]
    intervals = {step: estimate(finals[step].composite.values(), level) for step in able}
    sure = [step for step, found in intervals.items() if found is not None and found.is_below_zero]
    return tuple(sorted(sure, key=lambda step: (levels[step], step)))


def _new(before: Sequence[Sample], after: Sequence[Sample]) -> list[Sample]:
    """Pictures of another pair or seed: the same one drawn twice says nothing new."""
    known = {(sample.prompt_id, sample.seed) for sample in before}
    return [sample for sample in after if (sample.prompt_id, sample.seed) not in known]


def _num_seeds(samples: Sequence[Sample]) -> int:
    return max(Counter(sample.prompt_id for sample in samples).values())


def _how(steps: Sequence[int], num_same: int, num_unseen: int, num_seeds: int, pooled: Ranking) -> Phrase:
    """On what they were evaluated again."""
    places: list[Phrase] = []
    if num_same:
        same = over(num_same, pooled.metrics.words, one_prompt=pooled.one_prompt)
        if num_seeds == 1:
            places.append(phrase("with 1 new seed on the same {prompts}", prompts=same))
        else:
            places.append(phrase("with {count} new seeds on the same {prompts}", count=num_seeds, prompts=same))
    if num_unseen:
        words = pooled.metrics.words
        unit = words.pair if pooled.one_prompt else words.prompt
        if num_unseen == 1:
            places.append(phrase("on 1 unseen {unit}", unit=unit))
        else:
            places.append(phrase("on {count} unseen {unit}s", count=num_unseen, unit=unit))
    how = joined("{one} and {other}", places)
    if len(steps) == 1:
        return phrase("Step {step} was evaluated again {how}.", step=steps[0], how=how)
    return phrase("Steps {steps} were evaluated again {how}.", steps=listed(steps), how=how)


def _left_out(first: Ranking, steps: Collection[int]) -> Iterator[Phrase]:
    """That snapshots as good as the best had no place in the final, where that is so."""
    others = [step for step in sorted(first.indistinguishable) if step not in steps]
    if len(others) == 1:
        yield phrase(
            "Step {step}, which cannot be told from the best either, was not evaluated again: the final takes the "
            "best {count} by composite.",
            step=others[0],
            count=len(steps),
        )
    elif others:
        yield phrase(
            "Steps {steps}, which cannot be told from the best either, were not evaluated again: the final takes "
            "the best {count} by composite.",
            steps=listed(others),
            count=len(steps),
        )


def _outcome(first: int, levels: Mapping[int, float], chosen: int) -> Phrase:
    """What both evaluations together choose, by which numbers."""
    if len(levels) == 1:
        return phrase("Both evaluations count.")
    if chosen == first:
        return phrase("Both evaluations together confirm the choice.")
    if f"{levels[chosen]:+.2f}" == f"{levels[first]:+.2f}":
        return phrase(
            "Both evaluations together choose step {chosen}, not step {first}: their composites hardly differ "
            "({level:+.4f} and {first_level:+.4f}).",
            chosen=chosen,
            level=levels[chosen],
            first=first,
            first_level=levels[first],
        )
    return phrase(
        "Both evaluations together choose step {chosen} (composite {level:+.2f}), not step {first} "
        "({first_level:+.2f}).",
        chosen=chosen,
        level=levels[chosen],
        first=first,
        first_level=levels[first],
    )


def _sureness(step: int, composite: Estimate, words: Words, *, one_prompt: bool) -> Phrase:
    """What counts."""
    said = {
        "step": step,
        "prompts": over(composite.num_prompts, words, one_prompt=one_prompt),
        "base": words.base,
        "interval": with_interval(composite),
    }
    if composite.is_below_zero:
        return phrase(
            "Over {prompts} of both evaluations step {step} is better than {base} by the composite{interval}.", **said
        )
    return phrase(
        "Over {prompts} of both evaluations step {step} is not shown to be better than {base} by the "
        "composite{interval}.",
        **said,
    )
