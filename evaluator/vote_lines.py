"""What a person at the terminal reads of the votes."""

from __future__ import annotations

from collections.abc import Iterator

from shared.run_folder.averages import label
from shared.run_folder.phrase import Unit
from shared.run_folder.records.contest import Agreement, VoteVerdict


def vote_lines(votes: VoteVerdict, unit: Unit = "step") -> Iterator[str]:
    """How many there are, whom they prefer, which metrics agree with them. unit: of the run."""
    voters = ", ".join(f"{voter} {count}" for voter, count in votes.voters.items())
    about = f"Votes: {votes.num_votes} ({voters}), {votes.num_skipped} skipped."
    basis = "by the votes alone" if votes.alone else "with the metrics"
    yield f"{about} Strength over {unit} 0, {basis}:"
    for one in votes.steps:
        counted = f"won {one.won}, lost {one.lost}, equal {one.equal}"
        counted += f"  best with {one.chance:.0%}" if one.step else ""
        yield f"  {unit} {label(one.step):<6} {one.strength:+.2f} ({one.low:+.2f} to {one.high:+.2f})  {counted}"
    if votes.agreement:
        yield "How often a metric preferred the same picture as the voter:"
    for one in sorted(votes.agreement, key=lambda one: -one.low):
        yield f"  {one.title}: {_agreed(one)}"


def _agreed(one: Agreement) -> str:
    share = f"{one.agreed} of {one.num_votes} ({one.low:.0%} to {one.high:.0%})"
    return share if one.is_above_chance else f"{share}, not told from chance"
