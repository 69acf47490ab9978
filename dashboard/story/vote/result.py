"""What the votes say, for who asks: who is preferred, and which metric to trust for this subject."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.data.reader import RunReader
from dashboard.text.language import say
from dashboard.text.phrases import told
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.pending import BASE_MODEL
from shared.run_folder.records.contest import Agreement, VotedStep, VoteVerdict
from shared.run_folder.times import parse_time
from shared.run_folder.votes import Votes, read_votes


@dataclass(frozen=True)
class StepRow:
    """One snapshot by votes and metrics together."""

    step: int
    title: str
    strength: float
    """Over the base model, in units of the composite; more is better."""
    low: float
    high: float
    chance: str
    """Of being the best; empty of the base model."""
    counted: str
    """Its votes, in words."""
    is_favourite: bool


@dataclass(frozen=True)
class MetricRow:
    """How often a metric preferred the same picture as the voters."""

    title: str
    share: float
    low: float
    high: float
    words: str


@dataclass(frozen=True)
class VoteResult:
    """What is known by now."""

    headline: str
    sentence: str
    is_counting: bool
    """Not every vote is in it yet."""
    steps: tuple[StepRow, ...] = ()
    metrics: tuple[MetricRow, ...] = ()
    trust: str = ""
    """Which metric agrees most with the votes."""
    voters: str = ""
    problems: tuple[str, ...] = ()
    is_alone: bool = False
    """No metric has a say in the strengths."""


def vote_result(reader: RunReader) -> VoteResult:
    """As the verdict has it; `is_counting` where votes came since."""
    votes, best = read_votes(reader.run), reader.best()
    found = best.votes if best else None
    counting = is_behind(reader, votes)
    if found is None:
        return VoteResult(_none_yet(votes, counting=counting), "", counting, problems=votes.problems)
    return VoteResult(
        _headline(found),
        told(found.reason_phrases, found.reason),
        counting,
        tuple(_step_row(one, found) for one in found.steps),
        tuple(_metric_row(one, reader.descriptions) for one in _ordered(found)),
        _trust(found, reader.descriptions),
        _voters(found),
        votes.problems,
        found.alone,
    )


def is_behind(reader: RunReader, votes: Votes) -> bool:
    """Whether the verdict was made before the last vote."""
    best, said = reader.best(), votes.telling
    if best is None or not said:
        return False
    return parse_time(best.created) < max(parse_time(vote.created) for vote in said)


def _none_yet(votes: Votes, *, counting: bool) -> str:
    if counting:
        return say("The votes are being counted …")
    return say("No vote compares snapshots that may win.") if votes.telling else say("Nobody has voted yet.")


def _headline(found: VoteVerdict) -> str:
    if found.alone:
        return say("The votes alone choose: step {step}", step=found.favourite)
    if found.moved:
        return say("The votes changed the choice to step {step}", step=found.favourite)
    if found.favourite == found.before:
        return say("The votes agree with the metrics: step {step}", step=found.favourite)
    return say(
        "The votes lean to step {step}, the choice is still step {before}", step=found.favourite, before=found.before
    )


def _step_row(one: VotedStep, found: VoteVerdict) -> StepRow:
    return StepRow(
        one.step,
        say("base model") if one.step == BASE_MODEL else say("step {step}", step=one.step),
        one.strength,
        one.low,
        one.high,
        "" if one.step == BASE_MODEL else f"{one.chance:.0%}",
        say("preferred in {won}, not in {lost}, equal in {equal}", won=one.won, lost=one.lost, equal=one.equal),
        one.step == found.favourite,
    )


def _ordered(found: VoteVerdict) -> list[Agreement]:
    """The one to trust most first."""
    return sorted(found.agreement, key=lambda one: (-one.low, one.column))


def _metric_row(one: Agreement, descriptions: MetricDescriptions) -> MetricRow:
    words = say("{agreed} of {count} votes", agreed=one.agreed, count=one.num_votes)
    if not one.is_above_chance:
        words = say("{words}, not told from chance", words=words)
    return MetricRow(_title(one, descriptions), one.share, one.low, one.high, words)


def _title(one: Agreement, descriptions: MetricDescriptions) -> str:
    topics = {column.name: column.topic for column in descriptions.compared}
    return say(topics.get(one.column, one.title))


def _trust(found: VoteVerdict, descriptions: MetricDescriptions) -> str:
    able = [one for one in _ordered(found) if one.is_above_chance]
    if not able:
        return say("No metric can be told from chance by these votes yet.")
    first = able[0]
    return say(
        "For this subject, trust {metric} most: it preferred the same picture in {agreed} of {count} votes.",
        metric=_title(first, descriptions), agreed=first.agreed, count=first.num_votes,
    )  # fmt: skip


def _voters(found: VoteVerdict) -> str:
    return say(", ").join(say("{voter}: {count}", voter=voter, count=count) for voter, count in found.voters.items())
