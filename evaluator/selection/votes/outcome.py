"""What the votes say together with the metrics, and whether they change the choice. Pure.

The choice moves to the most likely best snapshot once it is better than what the metrics chose with a probability of
90 %. Where no metric ranks the snapshots, it is the most likely best from the first vote on. A snapshot that may not be
shipped is never chosen, however many prefer it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from evaluator.selection.ranking import Ranking
from evaluator.selection.votes.agreement import agreement
from shared.run_folder.phrase import Phrase, phrase
from shared.run_folder.records.contest import Contest, VotedStep, VoteVerdict
from shared.run_folder.records.evaluation_result import Sample
from shared.run_folder.records.vote import Vote
from shared.run_folder.votes import Votes
from shared.statistics.preference import Posterior, comparisons

MOVES_FROM = 0.9
"""Probability of being better than what the metrics chose."""
DIGITS = 4
MOST_SAID = 0.99
"""A probability in a sentence: votes do not make anything certain."""


def outcome(
    found: Ranking, competing: Contest, votes: Votes, evaluations: Mapping[int, Sequence[Sample]], before: int
) -> VoteVerdict | None:
    """before: what is named without votes. None without a vote between two snapshots of the contest."""
    telling = [vote for vote in votes.telling if set(vote.steps) <= set(competing.steps)]
    able = {summary.step for summary in found.eligible} & set(competing.steps)
    if not telling or before not in able:
        return None
    posterior = Posterior(competing, comparisons(telling, competing.steps))
    chances = posterior.chances(able)
    favourite = max(chances, key=lambda step: (chances[step], step == before))
    chance = posterior.chance_over(favourite, before) if favourite != before else 0.5
    by_metrics = Posterior(competing, ()).chance_over(favourite, before)
    alone = found.is_unmeasured
    moved = favourite != before and (alone or (chance >= MOVES_FROM and chance > by_metrics))
    sentence = (
        _alone(telling, favourite, chances)
        if alone
        else _sentence(telling, favourite, before, chances[favourite] if favourite == before else chance, moved=moved)
    )
    return VoteVerdict(
        num_votes=len(telling),
        num_decided=sum(vote.preferred is not None for vote in telling),
        num_skipped=sum(vote.answer == "skipped" for vote in votes.given),
        voters=dict(sorted(Counter(vote.voter for vote in telling).items())),
        steps=tuple(_voted(posterior, step, chances.get(step, 0.0), telling) for step in competing.steps),
        favourite=favourite,
        before=before,
        chance_over_before=round(chance, DIGITS),
        moved=moved,
        alone=alone,
        agreement=agreement(telling, evaluations, found),
        reason=str(sentence),
        reason_phrases=(sentence,),
        num_problems=len(votes.problems),
    )


def _voted(posterior: Posterior, step: int, chance: float, votes: Collection[Vote]) -> VotedStep:
    strength, of_it = posterior.strength(step), [vote for vote in votes if step in vote.steps]
    return VotedStep(
        step=step,
        strength=round(strength.mean, DIGITS),
        low=round(strength.low, DIGITS),
        high=round(strength.high, DIGITS),
        chance=round(chance, DIGITS),
        won=sum(vote.preferred == step for vote in of_it),
        lost=sum(vote.preferred not in (None, step) for vote in of_it),
        equal=sum(vote.preferred is None for vote in of_it),
    )


def _sentence(votes: Sequence[Vote], favourite: int, before: int, chance: float, *, moved: bool) -> Phrase:
    """chance: of the favourite to be better than `before`; where it is the same, to be the best."""
    between = [vote for vote in votes if set(vote.steps) == {favourite, before} and vote.preferred is not None]
    said = {
        "votes": _counted(len(votes)),
        "step": favourite,
        "before": before,
        "chance": min(chance, MOST_SAID),
        "limit": MOVES_FROM,
        "won": sum(vote.preferred == favourite for vote in between),
        "count": len(between),
    }
    if favourite == before:
        return phrase(
            "{votes} and the metrics together name step {step} the best, with a probability of {chance:.0%}.", **said
        )
    if moved and between:
        return phrase(
            "{won} of {count} votes preferred step {step} to step {before}, which the metrics chose. By {votes} in all "
            "and the metrics, step {step} is the better one with a probability of {chance:.0%}.",
            **said,
        )
    if moved:
        return phrase(
            "{votes} and the metrics together put step {step} before step {before}, which the metrics chose, with a "
            "probability of {chance:.0%}.",
            **said,
        )
    return phrase(
        "{votes} and the metrics together put step {step} before step {before} with a probability of {chance:.0%}: the "
        "choice changes from {limit:.0%} on.",
        **said,
    )


def _alone(votes: Sequence[Vote], favourite: int, chances: Mapping[int, float]) -> Phrase:
    """chances: of each that may be shipped, to be the best of them."""
    said = {"votes": _counted(len(votes)), "step": favourite}
    if len(chances) == 1:
        return phrase("Votes change nothing: step {step} is the only one that may be shipped.", **said)
    return phrase(
        "By {votes} alone, step {step} is the best of the {count} snapshots compared that may be shipped, with a "
        "probability of {chance:.0%}.",
        **said,
        count=len(chances),
        chance=min(chances[favourite], MOST_SAID),
    )


def _counted(count: int) -> Phrase:
    return phrase("1 vote") if count == 1 else phrase("{count} votes", count=count)
