"""Which two pictures to show next. Pure: the same votes give the same voter the same pair.

The two snapshots are those between which a vote is expected to tell most of what matters: which snapshot is the best,
and how strong all of them are. The prompt is the one of which this voter has seen least. Nobody sees the same two
pictures twice, before all others have been seen.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, islice

from shared.run_folder.records.contest import Contest
from shared.run_folder.records.vote import Vote
from shared.run_folder.votes import Drawn, Votes
from shared.statistics.preference import Posterior, comparisons

WEIGHT_OF_ALL = 1.0
"""Of what a vote tells of all strengths, beside what it tells of the best one."""
ID_CHARACTERS = 24


@dataclass(frozen=True)
class Pair:
    """Two pictures of one prompt and seed."""

    id: str
    prompt_id: str
    seed: int
    left: int
    right: int
    """Steps; the sides are shuffled."""


def next_pairs(
    contest: Contest, votes: Votes, voter: str, drawn: Drawn, count: int = 1, pending: Sequence[str] = ()
) -> list[Pair]:
    """The next so many pairs for a voter; fewer if there are no more. pending: ids of pairs that are on screen."""
    posterior = Posterior(contest, comparisons(votes.telling, contest.steps))
    told = {
        steps: posterior.information(*steps, WEIGHT_OF_ALL) if _shared_pictures(drawn, steps) else 0.0
        for steps in combinations(contest.steps, 2)
    }
    seen = Counter((vote.prompt_id, vote.seed, vote.steps) for vote in votes.by(voter))
    pairs = (_pair(voter, *one, votes) for one in _order(told, drawn, seen, votes, voter))
    return list(islice((pair for pair in pairs if pair.id not in pending), count))


def _order(
    told: dict[tuple[int, int], float],
    drawn: Drawn,
    seen: Counter[tuple[str, int, tuple[int, int]]],
    votes: Votes,
    voter: str,
) -> Sequence[tuple[tuple[int, int], str, int]]:
    """Every pair of pictures, the one to show first at the front."""
    per_prompt = Counter(vote.prompt_id for vote in votes.by(voter))
    per_steps = Counter((vote.prompt_id, vote.steps) for vote in votes.given)
    able = [
        (steps, prompt_id, seed) for steps in told for prompt_id, seed in _shared_pictures(drawn, steps) if told[steps]
    ]

    def rank(one: tuple[tuple[int, int], str, int]) -> tuple[int, float, int, int, str]:
        steps, prompt_id, seed = one
        luck = _digest(voter, prompt_id, seed, *steps)
        return (
            seen[prompt_id, seed, steps],
            -round(told[steps], 9),
            per_prompt[prompt_id],
            per_steps[prompt_id, steps],
            luck,
        )

    return sorted(able, key=rank)


def _shared_pictures(drawn: Drawn, steps: tuple[int, int]) -> list[tuple[str, int]]:
    one, other = (set(drawn.get(step, ())) for step in steps)
    return sorted(one & other)


def _pair(voter: str, steps: tuple[int, int], prompt_id: str, seed: int, votes: Votes) -> Pair:
    """Its id is new each time it is shown again, so that a vote which was withdrawn can be given again."""
    showing = 0
    while (name := _digest(voter, prompt_id, seed, *steps, showing)) in votes.ids:
        showing += 1
    left, right = steps if int(name[-1], 16) % 2 else steps[::-1]
    return Pair(name, prompt_id, seed, left, right)


def _digest(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:ID_CHARACTERS]


def pair_again(vote: Vote, votes: Votes) -> Pair:
    """The pair of a vote that was taken back, on the same sides."""
    again = _pair(vote.voter, vote.steps, vote.prompt_id, vote.seed, votes)
    return Pair(again.id, vote.prompt_id, vote.seed, vote.left, vote.right)
