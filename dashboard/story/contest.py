"""Which of several runs is better, in sentences: what each beats the pinned one on, and who wins, if anybody does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dashboard.data.comparison import Contestant, change
from dashboard.story.gains import num_won
from dashboard.story.wording import of_units, short
from dashboard.text.language import counting, say
from shared.run_folder.compared import lead, shared_pairs
from shared.run_folder.metric_descriptions import Column, compared_in_any
from shared.statistics.composite import Mixture, mix, scales_of
from shared.statistics.paired import LEVEL, estimate

MAX_NAMED = 3
"""Prompts named in a line."""


@dataclass(frozen=True)
class Contest:
    """What is said before the table."""

    headline: str
    winner: str = ""
    """The run that is surely better than every other one; empty where there is none."""
    sentences: tuple[str, ...] = ()
    left_out: str = ""
    """Names the prompts that do not count, because not every run drew them alike."""


def contest(contestants: Sequence[Contestant], baseline: str) -> Contest:
    """The pinned run beside each that compares with it. baseline: the name of the pinned one."""
    waiting = [_without_result(one) for one in contestants if one.evaluated is None]
    pinned = next(one for one in contestants if one.name == baseline)
    others = [one for one in contestants if one is not pinned and shared_pairs(one, pinned)]
    if not others:
        return Contest(say("These runs cannot be compared"), sentences=tuple(waiting))
    mixture = mix(
        pinned.descriptions.losses, scales_of(pinned.base.samples if pinned.base else (), pinned.descriptions)
    )
    rivals = [pinned, *others]
    winner = _winner(rivals, mixture)
    said = [_beside(pinned, other, mixture) for other in others]
    return Contest(
        _headline(winner),
        winner.name if winner else "",
        (*said, *(_reservation(winner) if winner else ()), *_not_as_evaluated(rivals), *waiting),
        _left_out(rivals),
    )


def _headline(winner: Contestant | None) -> str:
    if winner is None or winner.best is None:
        return say("No clear winner")
    with counting(winner.unit):
        return say("{run} wins with step {step}", run=winner.name, step=winner.best.step)


def _without_result(one: Contestant) -> str:
    return say("{run} has no best snapshot yet.", run=one.name)


def _winner(rivals: Sequence[Contestant], mixture: Mixture) -> Contestant | None:
    """The one that is surely better than each other. With several to beat, each interval is wider in their number, so
    that to name a wrong one stays as unlikely."""
    level = 1 - (1 - LEVEL) / (len(rivals) - 1)

    def beats(one: Contestant, other: Contestant) -> bool:
        found = estimate(lead(one, other, mixture).values(), level)
        return found is not None and found.is_above_zero

    return next((one for one in rivals if all(beats(one, other) for other in rivals if other is not one)), None)


def _beside(pinned: Contestant, other: Contestant, mixture: Mixture) -> str:
    """`demo beats live on look; garment and colour: no clear difference.` The one ahead comes first."""
    won, lost, equal, unknown = _sorted(pinned, other)
    first, second = (pinned, other) if len(won) >= len(lost) else (other, pinned)
    more, less = (won, lost) if first is pinned else (lost, won)
    names = {"one": first.name, "other": second.name}
    clauses = [say("{one} beats {other} on {aspects}", **names, aspects=_listed(more))] if more else []
    if less:
        clauses.append(
            say("{one} beats {other} on {aspects}", one=second.name, other=first.name, aspects=_listed(less))
        )
    if equal and clauses:
        clauses.append(say("{aspects}: no clear difference", aspects=_listed(equal)))
    elif equal:
        clauses.append(say("{one} and {other}: no clear difference on {aspects}", **names, aspects=_listed(equal)))
    if unknown and clauses:
        clauses.append(say("{aspects}: not scored alike", aspects=_listed(unknown)))
    elif unknown:
        clauses.append(say("{one} and {other}: {aspects} not scored alike", **names, aspects=_listed(unknown)))
    return say("; ").join(clauses) + say(".") + _in_wins(pinned, other, mixture)


def _sorted(pinned: Contestant, other: Contestant) -> tuple[list[Column], list[Column], list[Column], list[Column]]:
    """What the pinned run is better on, worse on, neither, and unknown. What has no weight in the choice is only told
    where it differs."""
    won: list[Column] = []
    lost: list[Column] = []
    equal: list[Column] = []
    unknown: list[Column] = []
    weighed = {column.name for column in (*pinned.descriptions.losses, *other.descriptions.losses)}
    for column in compared_in_any((pinned.descriptions, other.descriptions)):
        if column.guard or not column.worsening:
            continue
        found = change(pinned, other, column.name)
        if found and (found.is_below_zero or found.is_above_zero):
            (won if found.is_below_zero == (column.worsening > 0) else lost).append(column)
        elif column.name in weighed:
            (equal if found and found.low is not None else unknown).append(column)
    return won, lost, equal, unknown


def _in_wins(pinned: Contestant, other: Contestant, mixture: Mixture) -> str:
    """In prompts, all metrics together."""
    gains = lead(pinned, other, mixture)
    if not gains:
        return ""
    first, num = max(
        (pinned, num_won(gains)), (other, sum(value < 0 for value in gains.values())), key=lambda one: one[1]
    )
    won = of_units(num, len(gains), pinned.descriptions.words.prompt)
    return " " + say("All together, {run} is better on {won}.", run=first.name, won=won)


def _reservation(winner: Contestant) -> Iterator[str]:
    """To be the better one of two is not yet to be good."""
    if winner.best and winner.best.flagged:
        yield say("No snapshot of {run} can be recommended all the same.", run=winner.name)
    elif winner.best and winner.best.surer:
        said = {"run": winner.name, "step": winner.best.step, "base": say(winner.descriptions.words.base)}
        yield say("Step {step} of {run} is not surely better than {base}; other snapshots of it are.", **said)
    elif winner.best and winner.best.ranked and not winner.best.better_than_base:
        base = say(winner.descriptions.words.base)
        yield say("{run} is not clearly better than {base} all the same.", run=winner.name, base=base)


def _not_as_evaluated(rivals: Sequence[Contestant]) -> Iterator[str]:
    """What cannot be shipped as it was evaluated."""
    for one in rivals:
        if one.best and one.file != "same":
            with counting(one.unit):
                named = {"run": one.name, "step": say("step {step}", step=one.best.step)}
                if one.file == "changed":
                    yield say("The file of {run}, {step}, has changed since its evaluation.", **named)
                else:
                    yield say("The file of {run}, {step}, is missing.", **named)


def _left_out(rivals: Sequence[Contestant]) -> str:
    """Prompts that some run has and another one has not, or not alike."""
    pinned, *others = rivals
    shared = frozenset.intersection(*(shared_pairs(one, pinned) for one in others))
    samples = [sample for one in rivals if one.evaluated for sample in one.evaluated.samples]
    rest = list(
        dict.fromkeys(sample.prompt or sample.prompt_id for sample in samples if sample.prompt_id not in shared)
    )
    if not rest:
        return ""
    named = "; ".join(short(prompt) for prompt in rest[:MAX_NAMED]) + ("; …" if len(rest) > MAX_NAMED else "")
    unit = say(pinned.descriptions.words.prompt)
    return say(
        "Not counted, because not every run drew them alike: {count} {unit}s ({named}).",
        count=len(rest),
        unit=unit,
        named=named,
    )


def _listed(columns: Sequence[Column]) -> str:
    """`look, garment and colour`."""
    topics = [say(column.topic) for column in columns]
    if len(topics) < 2:
        return "".join(topics)
    return say("{first} and {last}", first=say(", ").join(topics[:-1]), last=topics[-1])
