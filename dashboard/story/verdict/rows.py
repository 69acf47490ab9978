"""The metrics that count, one by one: prompts won, and the interval against the base model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from dashboard.story.evidence import Evidence
from dashboard.story.gains import num_lost, num_won
from dashboard.story.wording import capital, of_units
from dashboard.text.formatting import difference
from dashboard.text.language import say
from shared.run_folder.metric_descriptions import Column
from shared.run_folder.records.best import Best
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.statistics.paired import PromptValues


@dataclass(frozen=True)
class Row:
    """One metric that counts, against the base model."""

    title: str
    words: str
    """`better on 20 of 20 prompts`."""
    better: bool | None
    """None: no clear difference, or not for this metric to say."""
    delta: float | None
    """More is better, whatever the metric's own direction; in the metric's own units of the composite, so that the bars
    of different metrics compare. None: unknown, as are both ends then."""
    low: float | None
    high: float | None
    caveat: str = ""
    difference: str = ""
    """In the metric's own direction and units, with its interval, as every table has it."""


def rows(evidence: Evidence, best: Best) -> tuple[Row, ...]:
    """Weighed losses first, then guards that have something to say."""
    result = evidence.results.get(best.step)
    losses = [_loss(evidence, best, result, column) for column in evidence.losses] if best.ranked else []
    return (*losses, *_guards(evidence, best, result))


def _loss(evidence: Evidence, best: Best, result: EvaluationResult | None, column: Column) -> Row:
    better = _better(evidence, result, column)
    if not better:
        reason = (result.missing.get(column.name) if result else "") or say("no reason was given")
        return Row(_title(column), say("no value: {reason}", reason=reason), None, None, None, None)
    bar = _bar(evidence, best, column)
    is_better = _is_sure(bar)
    words = _won(evidence, better)
    if is_better is None and _is_untold(best, column):
        words = say("{words}; too few prompts to be sure", words=words)
    elif is_better is None and bar[0] is not None:
        words = say("{words}; no clear difference", words=words)
    return Row(_title(column), words, is_better, *bar, _caveat(evidence, best, column), _difference(best, column))


def _guards(evidence: Evidence, best: Best, result: EvaluationResult | None) -> Iterator[Row]:
    """Those that a snapshot falls below, or that are surely worse than the base model's for a good reason."""
    for column in evidence.reader.descriptions.of_role("guard"):
        better, bar = _better(evidence, result, column), _bar(evidence, best, column)
        if not better or column.guard is None:
            continue
        if column.guard.fallen in best.reason or column.guard.fallen in best.passed_over.get(best.step, ""):
            yield Row(_title(column), column.guard.fallen, False, *bar, difference=_difference(best, column))
        elif _is_sure(bar) is False:
            lower = say("lower") if column.direction == "higher" else say("higher")
            won = of_units(num_lost(better), len(better), evidence.unit)
            words = say("{lower} than {base} on {won}", lower=lower, base=evidence.base, won=won)
            if real := _real_too(evidence, best, column):
                words = say("{words}; {more}", words=words, more=real)
            yield Row(_title(column), words, None, *bar, difference=_difference(best, column))


def _title(column: Column) -> str:
    return capital(say(column.topic))


def _better(evidence: Evidence, result: EvaluationResult | None, column: Column) -> PromptValues:
    """By prompt; more is better."""
    if result is None:
        return {}
    deltas = evidence.gains.deltas(result, column.name)
    return {prompt: -column.worsening * delta for prompt, delta in deltas.items() if isfinite(delta)}


def _won(evidence: Evidence, better: PromptValues) -> str:
    lost = num_lost(better)
    if not num_won(better) and lost:
        return say("worse on {lost}", lost=of_units(lost, len(better), evidence.unit))
    won = say("better on {won}", won=of_units(num_won(better), len(better), evidence.unit))
    return say("{won}, worse on {lost}", won=won, lost=lost) if lost else won


def _bar(evidence: Evidence, best: Best, column: Column) -> tuple[float | None, float | None, float | None]:
    """(middle, low, high), with the interval that holds for all snapshots at once."""
    found, unit = best.deltas.get(column.name), evidence.gains.scales.get(column.name)
    if found is None or not unit or not column.worsening or not isfinite(found.low + found.high + found.delta):
        return None, None, None
    if _is_untold(best, column):
        return None, None, None
    turned = -column.worsening / unit
    low, high = sorted((found.low * turned, found.high * turned))
    return found.delta * turned, low, high


def _difference(best: Best, column: Column) -> str:
    found = best.deltas.get(column.name)
    return difference(column, found.delta, found.low, found.high) if found else ""


def _is_untold(best: Best, column: Column) -> bool:
    found = best.deltas.get(column.name)
    return found is not None and not column.is_told(found.low, found.high)


def _is_sure(bar: tuple[float | None, float | None, float | None]) -> bool | None:
    _, low, high = bar
    if low is None or high is None:
        return None
    return True if low > 0 else False if high < 0 else None


def _caveat(evidence: Evidence, best: Best, column: Column) -> str:
    """A metric can be much better than the base model's and still be poor."""
    skill = best.skill.get(column.name)
    if skill is None or skill.value >= 0:
        return ""
    sample = say(evidence.reader.descriptions.words.sample)
    return say("still farther from the reference than another real {sample}", sample=sample)


def _real_too(evidence: Evidence, best: Best, column: Column) -> str:
    """Where the true pictures score worse than the base model's too, to score worse is right."""
    real = best.metrics.get(column.guard.real) if column.guard else None
    before = evidence.rows.get(0, {}).get(column.name)
    if real is None or before is None or not isfinite(before) or column.worsening * (real - before) <= 0:
        return ""
    return (
        say("real pictures score lower too") if column.direction == "higher" else say("real pictures score higher too")
    )
