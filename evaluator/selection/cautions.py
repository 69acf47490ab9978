"""What a person should know of a verdict before betting on it, besides its reason: whole sentences with cures. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from evaluator.selection.held_out_losses import Validated
from evaluator.selection.overfitting import MIN_SINCE_LOWEST
from evaluator.selection.ranking import Ranking
from shared.run_folder.metric_descriptions import Column
from shared.statistics.power import detectable

RISE_WORTH_A_LOOK = 1.05
"""Times its lowest: from here on an untested rise of the held-out loss is said; smaller ones are common by chance."""
FEW_PROMPTS = 5
"""With so many the demo's gain, which is large, is missed in three of ten runs (`docs/metrics.md`)."""
FLAGGED_IN_THE_FINAL = (
    "On all pictures of the final, step {step} fails a guard or shows a sign of overfitting, as every other finalist "
    "does: no snapshot can be recommended."
)


def unconfirmed(chosen: int, finalists: Sequence[int], drawn_again: Collection[int]) -> Iterator[str]:
    """That the final was held, but on other snapshots than this choice needs. drawn_again: steps in the final."""
    missing = [step for step in finalists if step not in drawn_again]
    if not missing:
        return
    looked_at = f"The final looked at {_steps(sorted(drawn_again))}"
    if chosen in missing:
        yield f"{looked_at}, and not at step {chosen}: this choice rests on the first evaluation alone."
    else:
        yield (
            f"{looked_at}, and not at {_steps(missing)}, now among the best: it does not count for this choice, which "
            "rests on the first evaluation alone."
        )


def of_captions(ranking: Ranking, num_prompts: int, *, proven: bool) -> Iterator[str]:
    """That few captions, or a single one, limit what the verdict holds for. proven: better than the base model."""
    words, num_snapshots = ranking.metrics.words, len(ranking.candidates)
    if ranking.one_prompt:
        yield (
            f"All held-out pairs have the same {words.prompt}, so the verdict holds for this {words.prompt} only. To "
            "know about others, write different captions. More seeds (evaluation.num_seeds) only make it surer about "
            "this one."
        )
    if not proven and num_prompts <= FEW_PROMPTS:
        pairs = f"held-out pairs of one {words.prompt}" if ranking.one_prompt else f"different {words.prompt}s"
        yield (
            f"{num_prompts} {pairs} show only a gain of more than {detectable(num_prompts, num_snapshots):.1f} times "
            "its spread between them: hold out more (data.num_validation, evaluation.num_prompts), add pictures where "
            f"the set cannot spare more, or choose by looking at the {words.sample}s."
        )


def untested_rise(validations: Sequence[Validated]) -> Iterator[str]:
    """That the held-out loss is well above its lowest where too few validations follow to test it: no sign, a remark.

    validations: up to the chosen snapshot's step.
    """
    if not validations:
        return
    lowest, last = min(validations, key=lambda row: row.held_out_loss), validations[-1]
    num_since = len(validations) - 1 - validations.index(lowest)
    is_tested = bool(last.held_out) and bool(last.probe) and num_since >= MIN_SINCE_LOWEST
    rise = last.held_out_loss / lowest.held_out_loss if lowest.held_out_loss > 0 else 1.0
    if rise >= RISE_WORTH_A_LOOK and not is_tested:
        why = (
            f"only {num_since} validation{'' if num_since == 1 else 's'} followed, and the sign `gap` needs "
            f"{MIN_SINCE_LOWEST}"
            if num_since < MIN_SINCE_LOWEST
            else "the losses of single examples, which the sign `gap` needs, are not recorded"
        )
        yield (
            f"The held-out loss at step {last.step} is {rise - 1:.0%} above its lowest ({last.held_out_loss:.4g} "
            f"against {lowest.held_out_loss:.4g} at step {lowest.step}). Whether that is chance was not tested: {why}. "
            f"Compare the pictures with those of step {lowest.step}, or validate more often (train.validation_steps)."
        )


def computed_in_two_ways(columns: Sequence[Column]) -> Iterator[str]:
    """That columns do not count, because their numbers cannot be compared with one another."""
    if columns:
        yield (
            f"Not counted: {', '.join(column.title for column in columns)}. Another version or encoder computed it for "
            "some snapshots, and such numbers cannot be compared. To count it, move the folders evaluations and "
            "confirmations away and evaluate all snapshots again (run.py evaluate)."
        )


def never_computed(columns: Sequence[Column], missing: Mapping[str, str]) -> Iterator[str]:
    """That losses have no number at step 0, so the composite goes by the others. missing: column → why."""
    for column in columns:
        why = missing.get(column.name, "step 0 was evaluated without it")
        yield f"Not counted: {column.title}. It has no value for step 0: {why}."


def _steps(steps: Sequence[int]) -> str:
    return f"step {steps[0]}" if len(steps) == 1 else f"steps {', '.join(map(str, steps))}"
