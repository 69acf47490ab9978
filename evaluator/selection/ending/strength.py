"""At which strength to use the chosen snapshot, and whether its subject survives at a lower one. Pure.

Every strength was drawn with the prompts and seeds of the first evaluation, so that they are compared in pairs. 1 is
what every program loads a file at: another strength is recommended only if it is shown to be better, or if 1 fails a
guard or shows a sign of overfitting and the other does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from evaluator.selection.ranking import Ranking, rank
from evaluator.selection.record import interval
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.phrase import Phrase, phrase
from shared.run_folder.records.evaluation_result import Sample
from shared.run_folder.records.strength import AtStrength, Strength
from shared.statistics.paired import LEVEL, Estimate, PromptValues, difference, estimate, mean

FULL = 1.0
LOWER = 0.7
"""Where several LoRAs are used together, each is turned down to about this."""
SURVIVING_SHARE = 0.5
"""Of the gain at strength 1."""


def weigh(
    baseline: Sequence[Sample],
    drawn: Mapping[float, Sequence[Sample]],
    metrics: MetricDescriptions,
    scales: Mapping[str, float],
) -> Strength | None:
    """The strength to recommend. baseline: step 0's samples; drawn: strength → the snapshot's, of the same prompts and
    seeds, 1 among them; scales: those of the run.

    None without another strength than 1 that has a composite. Where nothing is measured, none needs one.
    """
    found = rank({0: baseline, **{_key(one): samples for one, samples in drawn.items()}}, metrics, scales=scales)
    if found.is_unmeasured:
        return _unmeasured(found)
    composites = {summary.step / 100: summary.composite for summary in found.candidates}
    if FULL not in composites or len(composites) < 2:
        return None
    behind = _behind(composites)
    objections = {step / 100: reason for step, reason in found.objections.items()}
    recommended = _recommended(composites, behind, objections)
    kept, at_lower = _at_lower(composites)
    survives = None if at_lower is None or kept is None else kept >= SURVIVING_SHARE and at_lower.is_below_zero
    sentences = (
        _recommendation(recommended, behind, objections),
        *_survival(kept, survives, metrics.words.base),
    )
    return Strength(
        recommended=recommended,
        drawn=tuple(
            AtStrength(
                strength=strength,
                composite=interval(estimate(values.values())),
                behind_full=interval(behind.get(strength)),
                passed_over=str(objections.get(strength, "")),
            )
            for strength, values in sorted(composites.items())
        ),
        lower=LOWER,
        kept=kept,
        survives=survives,
        reason=" ".join(map(str, sentences)),
        reason_phrases=sentences,
    )


def _unmeasured(found: Ranking) -> Strength | None:
    """1, or the nearest to it that may be used where 1 may not: nothing else is known of any."""
    drawn = sorted(summary.step / 100 for summary in found.candidates)
    objections = {step / 100: reason for step, reason in found.objections.items()}
    able = [one for one in drawn if one not in objections]
    if FULL not in drawn or len(drawn) < 2:
        return None
    recommended = min(able, key=lambda one: (abs(one - FULL), one), default=FULL)
    others = _listed([one for one in drawn if one != FULL])
    if recommended == FULL:
        sentence = phrase(
            "No metric ranks the strengths {others}: look at their {sample}s beside those of strength 1.",
            others=others,
            sample=found.metrics.words.sample,
        )
    else:
        sentence = _recommendation(recommended, {}, objections)
    return Strength(
        recommended=recommended,
        drawn=tuple(
            AtStrength(strength=one, composite=None, passed_over=str(objections.get(one, ""))) for one in drawn
        ),
        lower=LOWER,
        reason=str(sentence),
        reason_phrases=(sentence,),
    )


def _key(strength: float) -> int:
    """In hundredths, as `ranking` numbers what it compares."""
    return round(100 * strength)


def _behind(composites: Mapping[float, PromptValues]) -> dict[float, Estimate | None]:
    """Strength → its difference to strength 1, with intervals that hold for all of them at once."""
    others = [strength for strength in composites if strength != FULL]
    level = 1 - (1 - LEVEL) / len(others)
    return {strength: difference(composites[strength], composites[FULL], level) for strength in others}


def _recommended(
    composites: Mapping[float, PromptValues],
    behind: Mapping[float, Estimate | None],
    objections: Mapping[float, Phrase],
) -> float:
    able = [strength for strength in composites if strength not in objections]
    if FULL in able:
        able = [FULL, *(strength for strength in able if (worse := behind.get(strength)) and worse.is_below_zero)]
    return min(able, key=lambda strength: mean(composites[strength]))


def _at_lower(composites: Mapping[float, PromptValues]) -> tuple[float | None, Estimate | None]:
    """(share of the gain that is left at `LOWER`, the composite there), read between the nearest strengths drawn.

    Nothing where it was not drawn on both sides, or where there is no sure gain to lose.
    """
    full, values = estimate(composites[FULL].values()), _between(composites)
    if full is None or not full.is_below_zero or not values:
        return None, None
    found = estimate(values.values())
    return (found.mean / full.mean, found) if found else (None, None)


def _between(composites: Mapping[float, PromptValues]) -> PromptValues:
    """The composite of each prompt at `LOWER`, on the straight line between the strengths around it."""
    below = max((strength for strength in composites if strength <= LOWER), default=None)
    above = min((strength for strength in composites if strength >= LOWER), default=None)
    if below is None or above is None:
        return {}
    share = (LOWER - below) / (above - below) if above > below else 0.0
    low, high = composites[below], composites[above]
    return {prompt: (1 - share) * low[prompt] + share * high[prompt] for prompt in low.keys() & high.keys()}


def _recommendation(
    recommended: float, behind: Mapping[float, Estimate | None], objections: Mapping[float, Phrase]
) -> Phrase:
    if recommended != FULL and FULL in objections:
        return phrase(
            "Recommended strength: {strength:g}, because at strength 1 it {reason}.",
            strength=recommended,
            reason=objections[FULL],
        )
    better = behind.get(recommended)
    if better is not None and better.low is not None and better.high is not None:
        return phrase(
            "Recommended strength: {strength:g}, where the composite is better by {gain:.2f} ({low:.2f} to {high:.2f}) "
            "than at strength 1.",
            strength=recommended,
            gain=-better.mean,
            low=-better.high,
            high=-better.low,
        )
    worse = [strength for strength, found in sorted(behind.items()) if found and found.is_above_zero]
    others = _listed(sorted(behind))
    if len(worse) == len(behind):
        return phrase("Recommended strength: 1; it is surely better than {others}.", others=others)
    if worse:
        return phrase(
            "Recommended strength: 1; of {others}, none is shown to be better, and surely worse: {worse}.",
            others=others,
            worse=_listed(worse),
        )
    return phrase("Recommended strength: 1; of {others}, none is shown to be better.", others=others)


def _survival(kept: float | None, survives: bool | None, base: str) -> Iterator[Phrase]:
    if kept is None or survives is None:
        return
    facts = {"lower": LOWER, "kept": max(0.0, kept), "base": base}
    if survives:
        yield phrase("At strength {lower:g} the subject survives: {kept:.0%} of the gain over {base} is left.", **facts)
    elif kept < SURVIVING_SHARE:
        yield phrase(
            "At strength {lower:g} the subject does not survive: only {kept:.0%} of the gain over {base} is left.",
            **facts,
        )
    else:
        yield phrase(
            "At strength {lower:g} {kept:.0%} of the gain over {base} is left, but it is not shown to be better than "
            "{base} there.",
            **facts,
        )


def _listed(strengths: Sequence[float]) -> str:
    return ", ".join(f"{strength:g}" for strength in strengths)
