"""The verdict on a run: what to ship, whether to go on, and what is known of it. Pure: results in, records out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from evaluator.selection import cautions, ranking, stop_rule
from evaluator.selection.choice import Selection, listed, surer
from evaluator.selection.ending import confirmation, strength
from evaluator.selection.held_out_losses import Validated
from evaluator.selection.one_method import computed_in_two_ways
from evaluator.selection.ranking import Ranking
from evaluator.selection.record import interval, recorded
from evaluator.selection.summary import Summary
from evaluator.selection.told import told_in
from evaluator.selection.unranked import unranked
from evaluator.selection.votes import calibration
from evaluator.selection.votes.calibration import calibrations, counts
from evaluator.selection.votes.contest import contest
from evaluator.selection.votes.outcome import outcome
from shared.config.path_settings import NO_PICTURES
from shared.config.schema import Config
from shared.run_folder.averages import trained_to
from shared.run_folder.metric_descriptions import Column, MetricDescriptions
from shared.run_folder.phrase import Phrase, Unit, phrase
from shared.run_folder.records.best import Advice, Best, Confirmation, Measured
from shared.run_folder.records.contest import Agreement
from shared.run_folder.records.evaluation_result import Anchors, EvaluationResult, Sample
from shared.run_folder.votes import Votes
from shared.statistics.composite import is_of_one_prompt
from shared.statistics.paired import Estimate, by_prompt


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict follows from."""

    evaluations: Mapping[int, EvaluationResult]
    """By step, step 0 the base model's; failed and skipped ones count for nothing."""
    confirmations: Mapping[int, EvaluationResult]
    """Of finalists and the base model, evaluated again."""
    validations: tuple[Validated, ...] | None
    """None: another program trains."""
    metrics: MetricDescriptions
    votes: Votes = field(default_factory=Votes)
    """Of people, between pictures of the evaluations."""
    strengths: Mapping[float, Mapping[int, EvaluationResult]] = field(
        default_factory=dict[float, Mapping[int, EvaluationResult]]
    )
    """Strength → by step, of snapshots drawn at other strengths than 1."""
    imported: bool = False
    """Another trainer's LoRAs."""
    guessed: Mapping[int, str] = field(default_factory=dict[int, str])
    """Step that nothing tells → its file."""
    unit: Unit = "step"
    """What the snapshots' numbers count."""
    deleted: frozenset[int] = frozenset()
    """Steps whose weights were deleted."""
    num_seen: int = 0
    """References of another trainer's LoRAs that look like pictures they were trained on."""


@dataclass(frozen=True)
class Verdict:
    """What the evidence says."""

    ranking: Ranking
    advice: Advice
    best: Best | None
    """None without a snapshot that can be compared with the base model. Its `created` is the time it was found."""
    two_ways: tuple[Column, ...] = ()
    """Columns that do not count, because some snapshots have them by another method."""


@dataclass(frozen=True)
class Ending:
    """What is evaluated when training is over, in this order."""

    num_averages: int = 0
    """Averages of neighbours of the best snapshot."""
    confirms: bool = False
    """The finalists again."""
    num_finalists: int = confirmation.NUM_FINALISTS
    strengths: Sequence[float] = ()
    """At which the one to ship is drawn, beside 1."""


def decide(evidence: Evidence, config: Config, ending: Ending) -> Verdict:
    """Rank, choose, confirm."""
    anchors = evidence.evaluations[0].anchors if 0 in evidence.evaluations else {}
    results = [*evidence.evaluations.values(), *evidence.confirmations.values()]
    mixed = computed_in_two_ways(evidence.metrics, results)
    samples, one_way = _samples(evidence.evaluations), evidence.metrics.without(column.name for column in mixed)
    judged = calibrations(one_way, evidence.votes.telling, samples)
    found = ranking.rank(
        samples,
        one_way.weighed({one.column: 0.0 for one in judged if not counts(one)}),
        anchors,
        evidence.validations,
        config.evaluation.prefer,
        config.evaluation.min_difference,
        probes={step: result.probes for step, result in evidence.evaluations.items() if result.status == "ok"},
        missing=evidence.evaluations[0].missing if 0 in evidence.evaluations else {},
        figures={step: result.figures for step, result in evidence.evaluations.items()},
        deleted=evidence.deleted,
    )
    advice = stop_rule.advise_stop(found, config.stop, config.train.max_train_steps)
    best = (
        _unranked(evidence, found, mixed, judged, advice, has_data=config.data.path != NO_PICTURES)
        if found.is_unmeasured
        else _best(evidence, found, mixed, judged, advice, ending)
    )
    if best:
        warnings = (
            *best.caution_phrases,
            *cautions.of_guesses(evidence.guessed, best.step),
            *cautions.of_model(config.evaluation.model),
        )
        best = best.model_copy(update={"cautions": tuple(map(str, warnings)), "caution_phrases": warnings})
        best = best.model_copy(update={"averages": found.averages(ending.num_averages)})
        best = told_in(evidence.unit, _with_strength(evidence, found, best, ending.strengths))
    return Verdict(found, advice, best, mixed)


def _samples(results: Mapping[int, EvaluationResult]) -> dict[int, tuple[Sample, ...]]:
    return {step: result.samples for step, result in results.items() if result.status == "ok"}


def _best(
    evidence: Evidence,
    found: Ranking,
    mixed: Sequence[Column],
    judged: Sequence[Agreement],
    advice: Advice,
    ending: Ending,
) -> Best | None:
    first = found.best
    if first is None:
        return None
    final = confirmed = _confirmation(evidence, found, ending)
    selection = found.selection_of(confirmed.step) if confirmed else first
    finalists = confirmation.finalists(found, ending.num_finalists)
    competing = contest(found, finalists, {step for vote in evidence.votes.telling for step in vote.steps})
    samples = _samples(evidence.evaluations)
    voted = outcome(found, competing, evidence.votes, samples, selection.step) if competing else None
    if voted and voted.moved:  # what the final said is about another snapshot
        confirmed, selection = None, found.selection_of(voted.favourite, voted.reason_phrases[0])
        first = selection
    of_final, num_first = (confirmed.reason_phrases if confirmed else ()), int(selection.flagged)
    proven = _proven(found, confirmed)
    is_better = (confirmed or first).better_than_base
    is_flagged = selection.flagged or (confirmed is not None and confirmed.flagged)
    sentences = (
        *selection.sentences[:num_first],  # that none can be recommended
        *of_final[:1],  # what counts
        *selection.sentences[num_first:],
        *_of_average(evidence.evaluations[selection.step]),
        *of_final[1:],
        *(() if is_better or is_flagged else surer(selection.step, proven, found.metrics.words)),
        *(voted.reason_phrases if voted and not voted.moved else ()),
    )
    summaries = {summary.step: summary for summary in found.summaries}
    shipped = summaries[selection.step]
    warnings = (
        *_cautions(evidence, found, selection, confirmed, ending),
        *cautions.computed_in_two_ways(mixed),
        *calibration.remarks(judged),
        *cautions.never_computed(_blank_losses(found), evidence.evaluations[0].missing),
        *cautions.of_one_prompt(_losses_of_one_prompt(found, evidence.evaluations[0].samples), found.metrics.words),
    )
    return recorded(
        found,
        selection.step,
        sentences,
        better_than_base=is_better,
        flagged=is_flagged,
        cautions=tuple(map(str, warnings)),
        caution_phrases=warnings,
        proven=proven,
        not_counted=_not_counted(mixed, judged),
        composite=interval(selection.composite),
        indistinguishable=selection.indistinguishable,
        anchors=_anchors(evidence, summaries[0]),
        skill={loss: within for loss, skill in shipped.skills.items() if (within := _measured(skill))},
        advice=advice,
        finalists=finalists if ending.confirms else (),
        confirmation=final,
        votes=voted,
        contest=competing,
    )


def _unranked(
    evidence: Evidence,
    found: Ranking,
    mixed: Sequence[Column],
    judged: Sequence[Agreement],
    advice: Advice,
    *,
    has_data: bool,
) -> Best | None:
    best = unranked(found, evidence.votes, _samples(evidence.evaluations))
    if best is None:
        return None
    warnings = (
        *cautions.of_no_metric(found, best.contest, imported=evidence.imported, has_data=has_data),
        *cautions.computed_in_two_ways(mixed),
        *calibration.remarks(judged),
        *(cautions.never_computed(_blank_losses(found), evidence.evaluations[0].missing) if has_data else ()),
    )
    said = {"cautions": tuple(map(str, warnings)), "caution_phrases": warnings, "advice": advice}
    return best.model_copy(update={**said, "not_counted": _not_counted(mixed, judged)})


def _not_counted(mixed: Sequence[Column], judged: Sequence[Agreement]) -> tuple[str, ...]:
    return (*(column.name for column in mixed), *(one.column for one in judged if not counts(one)))


def _proven(found: Ranking, confirmed: Confirmation | None) -> tuple[int, ...]:
    """Steps that are surely better than the base model, the best first; of finalists the final says it."""
    if confirmed is None:
        return found.proven
    return (*confirmed.proven, *(step for step in found.proven if step not in confirmed.finalists))


def _of_average(result: EvaluationResult) -> Iterator[Phrase]:
    """What the chosen candidate is the average of, where it is one."""
    steps, lost = result.training.get("averaged"), result.training.get("truncation")
    if steps and lost is None:
        yield phrase(
            "Step {step} is the average of the snapshots of steps {steps}.", step=result.step, steps=listed(steps)
        )
    elif steps:
        yield phrase(
            "Step {step} is the average of the snapshots of steps {steps}; bringing it back to their rank changes it "
            "by {loss:.1%}.",
            step=result.step,
            steps=listed(steps),
            loss=float(lost or 0.0),
        )


def _with_strength(evidence: Evidence, found: Ranking, best: Best, wanted: Sequence[float]) -> Best:
    """The verdict with the strengths to draw at, once no other snapshot can win, and with what they have shown."""
    if best.finalists and not {0, *best.finalists} <= evidence.confirmations.keys():
        return best
    best = best.model_copy(update={"strengths": tuple(wanted)})
    others = {one: result for one in wanted if (result := evidence.strengths.get(one, {}).get(best.step))}
    if not wanted or len(others) < len(wanted):
        return best
    drawn = {strength.FULL: evidence.evaluations[best.step], **others}
    mixed = computed_in_two_ways(found.metrics, [evidence.evaluations[0], *drawn.values()])
    metrics = found.metrics.without(column.name for column in mixed)
    samples = {one: result.samples for one, result in drawn.items() if result.status == "ok"}
    weighed = strength.weigh(evidence.evaluations[0].samples, samples, metrics, found.scales)
    if weighed is None:
        return best
    sentences = (*best.reason_phrases, *weighed.reason_phrases)
    said = {"reason": f"{best.reason} {weighed.reason}", "reason_phrases": sentences}
    return best.model_copy(update={"strength": weighed, **said})


def _cautions(
    evidence: Evidence, found: Ranking, selection: Selection, confirmed: Confirmation | None, ending: Ending
) -> Iterator[Phrase]:
    if confirmed and confirmed.flagged and not selection.flagged:
        yield cautions.flagged_in_the_final(selection.step)
    drawn_again = {step for step in _samples(evidence.confirmations) if step > 0}
    if ending.confirms and confirmed is None and drawn_again:
        finalists = confirmation.finalists(found, ending.num_finalists)
        yield from cautions.unconfirmed(selection.step, finalists, drawn_again)
    proven = (confirmed or selection).better_than_base
    num_prompts = confirmed.num_prompts if confirmed else selection.composite.num_prompts
    yield from cautions.of_references(found, imported=evidence.imported)
    yield from cautions.of_seen_references(evidence.num_seen, found.metrics.words)
    yield from cautions.of_captions(found, num_prompts, proven=proven, imported=evidence.imported)
    last = trained_to(selection.step)
    yield from cautions.untested_rise([row for row in evidence.validations or () if row.step <= last])


def _blank_losses(found: Ranking) -> list[Column]:
    """Those without a number at step 0: nothing can be compared with it. Where no prompt has a reference, no loss that
    compares with one can have a number.
    """
    known = found.summaries[0].means
    losses, some_have = found.metrics.losses, not found.no_references
    expected = [column for column in losses if some_have or column.counts_for(has_reference=False)]
    return [column for column in expected if column.name not in known]


def _losses_of_one_prompt(found: Ranking, samples: Sequence[Sample]) -> list[Column]:
    """Those with a number for a single prompt of several at step 0, which do not count. samples: of step 0."""
    losses = found.metrics.losses
    return [column for column in losses if is_of_one_prompt(column, by_prompt(samples, column.name), samples)]


def _confirmation(evidence: Evidence, found: Ranking, ending: Ending) -> Confirmation | None:
    """Once every finalist has been evaluated again."""
    again = _samples(evidence.confirmations)
    evaluations, count = _samples(evidence.evaluations), ending.num_finalists
    return confirmation.confirm(found, evaluations, again, evidence.validations, count)


def _anchors(evidence: Evidence, base: Summary) -> dict[str, Anchors]:
    """Loss → the ends of its scale, with step 0's own place on it."""
    ends = evidence.evaluations[0].anchors
    return {loss: anchors.model_copy(update={"step_0": base.means.get(loss)}) for loss, anchors in ends.items()}


def _measured(estimate: Estimate) -> Measured | None:
    if estimate.low is None or estimate.high is None:
        return None
    return Measured(value=estimate.mean, low=estimate.low, high=estimate.high)
