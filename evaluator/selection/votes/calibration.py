"""Metrics that count only once votes agree with them, such as a model's judgement. Pure.

Such a metric is compared all the same, and its agreement is told. It enters the composite once at least 20 votes
preferred a picture of which it says something, and its agreement with them is surely above chance. The votes then count
twice, by themselves and through it: it is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from evaluator.selection.votes.agreement import agreement_of
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.phrase import Phrase, phrase
from shared.run_folder.records.contest import Agreement
from shared.run_folder.records.evaluation_result import Sample
from shared.run_folder.records.vote import Vote

MIN_VOTES = 20


def calibrations(
    metrics: MetricDescriptions, votes: Iterable[Vote], evaluations: Mapping[int, Sequence[Sample]]
) -> tuple[Agreement, ...]:
    """Of each loss that needs votes, as far as it was computed."""
    votes = tuple(votes)
    known = {column for samples in evaluations.values() for sample in samples for column in sample.metrics}
    needing = [column for column in metrics.losses if column.needs_votes and column.name in known]
    return tuple(agreement_of(column, votes, evaluations) for column in needing)


def counts(found: Agreement) -> bool:
    """Whether votes agree with a metric surely enough."""
    return found.num_votes >= MIN_VOTES and found.is_above_chance


def remarks(found: Sequence[Agreement]) -> Iterator[Phrase]:
    """Whether they count, and why."""
    for one in found:
        told = {"title": phrase(one.title), "agreed": one.agreed, "count": one.num_votes, "needed": MIN_VOTES}
        if counts(one):
            yield phrase(
                "{title} counts, because it preferred the same picture in {agreed} of {count} votes: these votes count "
                "by themselves and through it.",
                **told,
            )
        else:
            yield phrase(
                "Not counted: {title}. It counts once it surely agrees with at least {needed} votes; by now it "
                "preferred the same picture in {agreed} of {count}.",
                **told,
            )
