"""What a person should know of a verdict before betting on it, besides its reason: whole sentences with cures. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from evaluator.selection.choice import listed
from evaluator.selection.held_out_losses import Validated
from evaluator.selection.overfitting import MIN_SINCE_LOWEST
from evaluator.selection.ranking import Ranking
from shared.run_folder.metric_descriptions import Column, Words
from shared.run_folder.phrase import Phrase, joined, phrase
from shared.run_folder.records.contest import Contest
from shared.statistics.power import LARGE_GAIN, chance

RISE_WORTH_A_LOOK = 1.05
"""Times its lowest: from here on an untested rise of the held-out loss is said; smaller ones are common by chance."""
FEW_PROMPTS = 5
"""With so many the demo's gain, which is large, is missed in three of ten runs (`docs/metrics.md`)."""


def flagged_in_the_final(step: int) -> Phrase:
    """That its pictures of the final speak against it, as they do against every other finalist."""
    return phrase(
        "On all pictures of the final, step {step} fails a guard or shows a sign of overfitting, as every other "
        "finalist does: no snapshot can be recommended.",
        step=step,
    )


def unconfirmed(chosen: int, finalists: Sequence[int], drawn_again: Collection[int]) -> Iterator[Phrase]:
    """That the final has not looked at every snapshot that this choice needs: it goes on, or others were better since.

    drawn_again: steps in the final.
    """
    missing = [step for step in finalists if step not in drawn_again]
    if not missing:
        return
    looked_at = _steps(sorted(drawn_again))
    if chosen in missing:
        yield phrase(
            "The final has looked at {steps}, not yet at step {step}: until then, this choice rests on the first "
            "evaluation alone.",
            steps=looked_at,
            step=chosen,
        )
    else:
        yield phrase(
            "The final has looked at {steps}, not yet at {missing}, now among the best: until then, this choice rests "
            "on the first evaluation alone.",
            steps=looked_at,
            missing=_steps(missing),
        )


def of_captions(ranking: Ranking, num_prompts: int, *, proven: bool, imported: bool = False) -> Iterator[Phrase]:
    """That few captions, or a single one, limit what the verdict holds for.

    proven: better than the base model. imported: another trainer's LoRAs, of which no pairs are held out here.
    """
    words = ranking.metrics.words
    if ranking.one_prompt:
        yield phrase(
            "All {pair}s have the same {prompt}, so the verdict holds for this {prompt} only. To know about others, "
            "write different captions. More seeds (evaluation.num_seeds) only make it surer about this one.",
            pair=words.pair,
            prompt=words.prompt,
        )
    if not proven and num_prompts <= FEW_PROMPTS:
        count = len(ranking.candidates)
        facts = {
            "prompts": num_prompts,
            "prompt": words.prompt,
            "snapshots": phrase("1 snapshot") if count == 1 else phrase("{count} snapshots", count=count),
            "seen": round(100 * chance(LARGE_GAIN, num_prompts, count)),
            "sample": words.sample,
        }
        if imported and ranking.one_prompt:
            yield phrase(
                "With {prompts} reference {sample}s of one {prompt} and {snapshots}, a large gain would be surely seen "
                "in {seen} of 100 runs: give more (--references), or choose by looking at the {sample}s.",
                **facts,
            )
        elif imported and not ranking.no_references:
            yield phrase(
                "With {prompts} different {prompt}s and {snapshots}, a large gain would be surely seen in {seen} of "
                "100 runs: give more reference {sample}s (--references), or choose by looking at the {sample}s.",
                **facts,
            )
        elif ranking.one_prompt:
            yield phrase(
                "With {prompts} held-out pairs of one {prompt} and {snapshots}, a large gain would be surely seen in "
                "{seen} of 100 runs: hold out more (data.num_validation, evaluation.num_prompts), add pictures where "
                "the set cannot spare more, or choose by looking at the {sample}s.",
                **facts,
            )
        elif imported:
            yield phrase(
                "With {prompts} different {prompt}s and {snapshots}, a large gain would be surely seen in {seen} of "
                "100 runs: write more (--prompts), or choose by looking at the {sample}s.",
                **facts,
            )
        elif ranking.no_references:
            yield phrase(
                "With {prompts} different {prompt}s and {snapshots}, a large gain would be surely seen in {seen} of "
                "100 runs: write more (evaluation.prompts), or choose by looking at the {sample}s.",
                **facts,
            )
        else:
            yield phrase(
                "With {prompts} different {prompt}s and {snapshots}, a large gain would be surely seen in {seen} of "
                "100 runs: hold out more (data.num_validation, evaluation.num_prompts), add pictures where the set "
                "cannot spare more, or choose by looking at the {sample}s.",
                **facts,
            )


def of_references(ranking: Ranking, *, imported: bool = False) -> Iterator[Phrase]:
    """That the verdict rests on prompts without real pictures, where that is so."""
    words = ranking.metrics.words
    if ranking.no_references and imported:
        yield phrase(
            "No {prompt} has a real {sample} to compare with, so the composite measures likeness to what the LoRA was "
            "trained on. Look at the {sample}s, too, or give reference {sample}s (--references).",
            prompt=words.prompt,
            sample=words.sample,
        )
    elif ranking.no_references:
        yield phrase(
            "No {prompt} has a real {sample} to compare with, so the composite measures likeness to what the LoRA was "
            "trained on. Look at the {sample}s, too, or hold pairs out (data.num_validation).",
            prompt=words.prompt,
            sample=words.sample,
        )


def of_seen_references(count: int, words: Words) -> Iterator[Phrase]:
    """That what was learnt by heart passes for learning. count: of references that look like pictures trained on."""
    if count:
        yield phrase(
            "{count} of the reference {sample}s look like {sample}s that were trained on: what is learnt by heart "
            "passes for learning there. Leave them out of --references, and evaluate again with --new.",
            count=count,
            sample=words.sample,
        )


def of_no_metric(ranking: Ranking, contest: Contest | None, *, imported: bool, has_data: bool) -> Iterator[Phrase]:
    """What votes do not compare, and what would let metrics rank. has_data: some pictures of the subject were given."""
    sample = ranking.metrics.words.sample
    if contest and contest.left_out:
        yield phrase(
            "Votes compare {compared} snapshots, evenly spread over the training. {others} others may be shipped too, "
            "and nothing ranks them: look at the {sample}s of those around the one that votes prefer.",
            compared=len(contest.steps) - 1,
            others=contest.left_out,
            sample=sample,
        )
    if imported and not has_data:
        yield phrase(
            "To let metrics rank them, evaluate again (--new) with the {sample}s that were trained on "
            "(--train-pictures) or with reference {sample}s (--references).",
            sample=sample,
        )


def untested_rise(validations: Sequence[Validated]) -> Iterator[Phrase]:
    """That the held-out loss is well above its lowest where too few validations follow to test it: no sign, a remark.

    validations: up to the chosen snapshot's step.
    """
    if not validations:
        return
    lowest, last = min(validations, key=lambda row: row.held_out_loss), validations[-1]
    num_since = len(validations) - 1 - validations.index(lowest)
    is_tested = bool(last.held_out) and bool(last.probe) and num_since >= MIN_SINCE_LOWEST
    rise = last.held_out_loss / lowest.held_out_loss if lowest.held_out_loss > 0 else 1.0
    if rise < RISE_WORTH_A_LOOK or is_tested:
        return
    if num_since == 1:
        why = phrase("only 1 validation followed, and the sign `gap` needs {needed}", needed=MIN_SINCE_LOWEST)
    elif num_since < MIN_SINCE_LOWEST:
        why = phrase(
            "only {count} validations followed, and the sign `gap` needs {needed}",
            count=num_since,
            needed=MIN_SINCE_LOWEST,
        )
    else:
        why = phrase("the losses of single examples, which the sign `gap` needs, are not recorded")
    yield phrase(
        "The held-out loss at step {last} is {rise:.0%} above its lowest ({loss:.4g} against {lowest_loss:.4g} at step "
        "{lowest}). Whether that is chance was not tested: {why}. Compare the pictures with those of step {lowest}, or "
        "validate more often (train.validation_steps).",
        last=last.step,
        rise=rise - 1,
        loss=last.held_out_loss,
        lowest_loss=lowest.held_out_loss,
        lowest=lowest.step,
        why=why,
    )


def of_guesses(guessed: Mapping[int, str], chosen: int) -> Iterator[Phrase]:
    """That a step on every screen and axis is a guess. guessed: step → the file that has it; chosen: what is named."""
    if chosen in guessed:
        yield phrase(
            "Step {step} is {file}. No name or header tells its step: {step} is a guess.",
            step=chosen,
            file=guessed[chosen],
        )
    others = {step: file for step, file in guessed.items() if step != chosen}
    for step, file in [*others.items()][:1]:
        if len(others) == 1:
            yield phrase(
                "{file} stands at step {step}, which is a guess: no name or header tells its step.",
                step=step,
                file=file,
            )
        else:
            yield phrase(
                "{count} LoRAs stand at steps that are guesses, such as {file} at step {step}: no name or header tells "
                "their steps.",
                count=len(others),
                step=step,
                file=file,
            )


def of_model(drawn_with: str | None) -> Iterator[Phrase]:
    """drawn_with: `evaluation.model`; None: the model that learns."""
    if drawn_with:
        yield phrase(
            "Drawn with {model}, not with the model that learnt: the verdict holds for this one.", model=drawn_with
        )


def computed_in_two_ways(columns: Sequence[Column]) -> Iterator[Phrase]:
    """That columns do not count, because their numbers cannot be compared with one another."""
    if columns:
        yield phrase(
            "Not counted: {titles}. Another version or encoder computed it for some snapshots, and such numbers cannot "
            "be compared. To count it, move the folders evaluations and confirmations away and evaluate all snapshots "
            "again (run.py evaluate).",
            titles=joined("{one}, {other}", (phrase(column.title) for column in columns)),
        )


def never_computed(columns: Sequence[Column], missing: Mapping[str, str]) -> Iterator[Phrase]:
    """That losses have no number at step 0, so the composite goes by the others. missing: column → why."""
    for column in columns:
        why = missing.get(column.name) or phrase("step 0 was evaluated without it")
        yield phrase("Not counted: {title}. It has no value for step 0: {why}.", title=column.title, why=why)


def of_one_prompt(columns: Sequence[Column], words: Words) -> Iterator[Phrase]:
    """That losses have a number at step 0 for one prompt only, so the composite goes by the others."""
    for column in columns:
        yield phrase(
            "Not counted: {title}. It has a value for only one {prompt} at step 0.",
            title=column.title,
            prompt=words.prompt,
        )


def _steps(steps: Sequence[int]) -> Phrase:
    if len(steps) == 1:
        return phrase("step {step}", step=steps[0])
    return phrase("steps {steps}", steps=listed(steps))
