"""What the page of votes shows next: two pictures, and how far the voter has come. It never says who leads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.data.reader import RunReader
from dashboard.story.pictures import sample_urls, urls
from dashboard.story.vote.next_pair import Pair, next_pairs, pair_again
from dashboard.text.language import say
from shared.run_folder.pending import BASE_MODEL
from shared.run_folder.records.best import Best
from shared.run_folder.records.contest import Contest
from shared.run_folder.records.evaluation_result import Sample
from shared.run_folder.records.vote import Vote
from shared.run_folder.votes import Drawn, Votes, pictures_of, read_votes

NUM_AHEAD = 2
"""Pairs that the browser gets at a time, so that it can load the pictures of the next one."""
ENOUGH = 20
"""Votes that say something, see benchmarks/votes_simulation.py."""
MAX_CONTENDERS = 8


@dataclass(frozen=True)
class ShownPair:
    """Two pictures to compare."""

    id: str
    prompt_id: str
    prompt: str
    seed: int
    left: int
    right: int
    """Steps. The page does not show them."""
    left_url: str
    right_url: str
    """Relative to the page."""
    reference_url: str
    """Empty where there is none."""


@dataclass(frozen=True)
class Given:
    """A vote that can be taken back."""

    id: str
    prompt_id: str
    seed: int
    left: int
    right: int


@dataclass(frozen=True)
class Ballot:
    """What a voter is shown."""

    pairs: tuple[ShownPair, ...]
    progress: str
    last: Given | None
    """The voter's last vote."""
    note: str = ""
    """Why there is nothing to vote on."""
    problem: str = ""
    """What is wrong with the files of votes."""
    scope: str = ""
    """That not every snapshot is compared, where that is so."""


def ballot(reader: RunReader, voter: str, pending: Sequence[str] = (), again: Vote | None = None) -> Ballot:
    """The next pairs of a voter. pending: ids of those on screen; again: one that was taken back, to be shown first."""
    best = reader.best()
    competing = contest_of(best)
    drawn = drawn_in(reader, competing.steps) if competing else {}
    votes = read_votes(reader.run)
    own = votes.by(voter)
    pairs: list[Pair] = [pair_again(again, votes)] if again else []
    if competing:
        pairs += next_pairs(competing, votes, voter, drawn, NUM_AHEAD, [*pending, *(pair.id for pair in pairs)])
    shown = tuple(_shown(reader, pair) for pair in pairs[:NUM_AHEAD])
    last = own[-1] if own else None
    return Ballot(
        shown,
        _progress(own, votes),
        Given(last.id, last.prompt_id, last.seed, last.left, last.right) if last else None,
        "" if shown else _why_none(reader, competing),
        votes.problems[0] if votes.problems else "",
        scope_of(best),
    )


def scope_of(best: Best | None) -> str:
    """That there are more snapshots that may win than people can compare; empty where all of them are compared."""
    found = best.contest if best else None
    if best is None or found is None or not found.left_out:
        return ""
    said = {"compared": len(found.steps) - 1, "count": len(found.steps) - 1 + found.left_out}
    if best.ranked:
        return say("Compared are {compared} of {count} snapshots that may be the best, and the base model.", **said)
    return say(
        "Compared are {compared} of {count} snapshots, evenly spread over the training, and the base model.", **said
    )


def contest_of(best: Best | None) -> Contest | None:
    """Who competes; where an older version made the verdict, those that it named, with nothing known of them."""
    if best is None or best.contest:
        return best.contest if best else None
    close = list(dict.fromkeys([best.step, *best.finalists, *best.indistinguishable]))[:MAX_CONTENDERS]
    steps = (BASE_MODEL, *sorted(close))
    known = tuple(tuple(float(row == column) for column in steps) for row in steps)
    return Contest(steps=steps, means=(0.0,) * len(steps), covariance=known, unit=1.0)


def drawn_in(reader: RunReader, steps: Sequence[int]) -> Drawn:
    """The pictures of these steps."""
    return pictures_of({step: result.samples for step in steps if (result := reader.result(step))})


def _progress(own: Sequence[Vote], votes: Votes) -> str:
    mine, all_of_them = sum(vote.says_something for vote in own), len(votes.telling)
    others = all_of_them - mine
    said = say("1 vote") if mine == 1 else say("{count} votes", count=mine)
    if others:
        said = say("{votes}, and {others} of others", votes=said, others=others)
    if all_of_them < ENOUGH:
        return say("{votes} so far; from {enough} on they say something", votes=said, enough=ENOUGH)
    return said


def _why_none(reader: RunReader, competing: Contest | None) -> str:
    if reader.has_no_pictures():
        return say("The results of this run have no pictures.")
    if competing is None:
        return say("There is nothing to vote on yet: a snapshot and the base model must be evaluated first.")
    return say("No prompt was drawn by two of the snapshots that matter.")


def _shown(reader: RunReader, pair: Pair) -> ShownPair:
    left, right = (_sample(reader, step, pair) for step in (pair.left, pair.right))
    reference = ""
    if left and left.has_reference:
        path = f"references/{left.prompt_id}.png"
        reference = urls(reader, path, reader.run_id)[0] if (reader.run.path / path).is_file() else ""
    return ShownPair(
        pair.id,
        pair.prompt_id,
        left.prompt if left else "",
        pair.seed,
        pair.left,
        pair.right,
        sample_urls(reader, pair.left, left)[0] if left else "",
        sample_urls(reader, pair.right, right)[0] if right else "",
        reference,
    )


def _sample(reader: RunReader, step: int, pair: Pair) -> Sample | None:
    result = reader.result(step)
    samples = result.samples if result else ()
    return next((one for one in samples if (one.prompt_id, one.seed) == (pair.prompt_id, pair.seed)), None)
