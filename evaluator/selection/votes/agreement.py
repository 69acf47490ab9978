"""How often each metric prefers the picture that the voter preferred. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from evaluator.selection.ranking import Ranking
from shared.run_folder.metric_descriptions import Column
from shared.run_folder.records.contest import Agreement
from shared.run_folder.records.evaluation_result import Sample
from shared.run_folder.records.vote import Vote
from shared.statistics.composite import Mixture, mix
from shared.statistics.paired import prompts
from shared.statistics.proportion import share_interval

COMPOSITE = "composite"
Badness = dict[tuple[int, str, int], float]
"""(step, prompt id, seed) → a number of its picture, turned so that lower is better."""


def agreement(
    votes: Iterable[Vote], evaluations: Mapping[int, Sequence[Sample]], found: Ranking
) -> tuple[Agreement, ...]:
    """Of the composite and of each compared metric that has numbers to prefer by. evaluations: step → its pictures."""
    decided = [vote for vote in votes if vote.preferred is not None]
    mixture = mix(found.metrics.losses, found.scales, evaluations.get(0, ()))
    columns = [column for column in found.metrics.compared if column.worsening]
    counted = [
        _counted(COMPOSITE, COMPOSITE, _composites(evaluations, mixture), decided),
        *(agreement_of(column, decided, evaluations) for column in columns),
    ]
    return tuple(one for one in counted if one.num_votes)


def agreement_of(column: Column, votes: Iterable[Vote], evaluations: Mapping[int, Sequence[Sample]]) -> Agreement:
    """Of one metric; over no vote where it has no numbers."""
    decided = [vote for vote in votes if vote.preferred is not None]
    return _counted(column.name, column.title, _values(evaluations, column.name, column.worsening), decided)


def _counted(column: str, title: str, badness: Badness, decided: Sequence[Vote]) -> Agreement:
    agreed = compared = 0
    for vote in decided:
        left, right = (badness.get((step, vote.prompt_id, vote.seed)) for step in (vote.left, vote.right))
        if left is not None and right is not None and left != right:
            compared += 1
            agreed += vote.preferred == (vote.left if left < right else vote.right)
    low, high = share_interval(agreed, compared)
    share = agreed / compared if compared else 0.0
    return Agreement(column=column, title=title, agreed=agreed, num_votes=compared, share=share, low=low, high=high)


def _values(evaluations: Mapping[int, Sequence[Sample]], name: str, worsening: int) -> Badness:
    return {
        (step, sample.prompt_id, sample.seed): worsening * value
        for step, samples in evaluations.items()
        for sample in samples
        if (value := sample.metrics.get(name)) is not None
    }


def _composites(evaluations: Mapping[int, Sequence[Sample]], mixture: Mixture) -> Badness:
    """Of single pictures, up to what all pictures of a prompt and seed share."""
    found: Badness = {}
    for step, samples in evaluations.items():
        unit = prompts(samples)
        for sample in samples:
            shares = mixture.of(unit[sample.prompt_id])
            values = {loss: sample.metrics.get(loss) for loss in shares}
            known = {loss: value for loss, value in values.items() if value is not None}
            if shares and len(known) == len(shares):
                weighed = sum(share * known[loss] / mixture.units[loss] for loss, share in shares.items())
                found[step, sample.prompt_id, sample.seed] = weighed
    return found
