"""The snapshot to ship, and the reason in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evaluator.selection.summary import Summary
from evaluator.selection.trend import MIN_SMOOTHED
from shared.run_folder.metric_descriptions import Column, Guard, MetricDescriptions, Words
from shared.statistics.paired import Estimate


@dataclass(frozen=True)
class Selection:
    """The snapshot to ship. Its intervals hold for all snapshots at once, see `bands`: it was picked among them."""

    step: int
    reason: str
    better_than_base: bool
    """Only when the composite's interval lies below zero."""
    passes_guards: bool
    """False when every snapshot fails a guard, and this is merely the best of those."""
    flagged: bool
    """It fails a guard or shows a sign of overfitting, as every other snapshot does: none can be recommended."""
    passed_over: dict[int, str]
    """Step → why it may not be shipped; empty where that holds for all."""
    indistinguishable: tuple[int, ...]
    """Steps of the snapshots that cannot be told from the best, itself included."""
    composite: Estimate
    deltas: dict[str, Estimate]
    num_evaluated: int


def no_recommendation(selection: Selection, flagged: Mapping[int, tuple[bool, bool]]) -> Iterator[str]:
    """That no snapshot can be recommended, where that is so. flagged: step → (fails a guard, shows a sign)."""
    if not selection.flagged:
        return
    guards, signs = zip(*flagged.values(), strict=True)
    does = "shows a sign of overfitting" if not any(guards) else "fails a guard or shows a sign of overfitting"
    does = "fails a guard" if all(guards) and not any(signs) else does
    which = f"every one of the {len(flagged)} evaluated" if len(flagged) > 1 else "the only one evaluated"
    yield f"No snapshot can be recommended: {which} {does}."


def choice(selection: Selection, top: int, min_difference: float, overruled: int | None = None) -> Iterator[str]:
    """Why this one. top: step of the best smoothed composite; overruled: what was chosen before the final."""
    step, num_left = selection.step, selection.num_evaluated - len(selection.passed_over)
    smoothed = "smoothed composite" if selection.num_evaluated >= MIN_SMOOTHED else "composite"
    left = _left(selection)
    among = f"the {num_left} snapshots that {left}" if selection.passed_over else f"{num_left} snapshots"
    if overruled is not None:
        had = f"had the best {smoothed} of {among}" if overruled == top else f"was chosen among {among}"
        yield f"The final chose step {step} over step {overruled}, which {had} before it."
    elif selection.num_evaluated == 1:
        yield f"Step {step} is the only snapshot evaluated."
    elif num_left == 1:
        only = left.replace("pass ", "passes ").replace("show ", "shows ")
        yield f"Step {step} is the only one of {selection.num_evaluated} snapshots that {only}."
    elif step == top:
        yield f"Step {step} has the best {smoothed} of {among}. {_others(selection, num_left)}"
    else:
        yield (
            f"Step {step} is the earliest of {among} that cannot be told from the best (step {top}) and is less than "
            f"{min_difference:g} behind it in the {smoothed}."
        )
    yield from _passed_over(selection)


def _left(selection: Selection) -> str:
    """What the snapshots have in common that were not passed over."""
    if not selection.flagged:
        return "may be shipped"
    return "pass every guard" if selection.passes_guards else "show no sign of overfitting"


def _others(selection: Selection, num_left: int) -> str:
    """Which snapshots are as good as the best, for all that is known."""
    others = [str(step) for step in selection.indistinguishable if step != selection.step]
    if num_left == 2:
        return f"The other one {'cannot be told from it' if others else 'is surely worse'}."
    if not others:
        return "The others are surely worse."
    if len(others) == num_left - 1:
        return "None of the others can be told from it."
    named = f"Step {others[0]}" if len(others) == 1 else f"Steps {', '.join(others)}"
    return f"{named} cannot be told from it; the others are surely worse."


def _passed_over(selection: Selection) -> Iterator[str]:
    """Which snapshots may not be shipped, and why."""
    for reason in dict.fromkeys(selection.passed_over.values()):
        steps = [str(step) for step, why in selection.passed_over.items() if why == reason]
        named = f"step {steps[0]}, which" if len(steps) == 1 else f"steps {', '.join(steps)}, each of which"
        yield f"Passed over: {named} {reason}."


def findings(
    selection: Selection, chosen: Summary, metrics: MetricDescriptions, fallen: Sequence[Guard], *, one_prompt: bool
) -> Iterator[str]:
    """Whether it is better than the base model, and what speaks against it."""
    sure = "" if selection.better_than_base else "not shown to be "
    yield (
        f"Over {over(selection.composite.num_prompts, metrics.words, one_prompt=one_prompt)} it is {sure}better than "
        f"{metrics.words.base} by the composite{_composite(selection.composite)}: "
        f"{_in_words(selection.deltas, metrics)}."
    )
    guards = [(column, column.guard) for column in metrics.columns if column.guard]
    for column, guard in guards:
        real, delta = chosen.means.get(guard.real), selection.deltas.get(column.name)
        if not fallen and real is not None and delta is not None and _word(column, delta) == _worse(column):
            side = "below" if column.direction == "higher" else "above"
            yield (
                f"Real {metrics.words.sample}s score {real:.3f} in {column.title}: "
                f"to score {side} {metrics.words.base} is right here."
            )
    if fallen:
        others = "as does every other snapshot" if len(guards) == 1 else "and no other snapshot passes every guard"
        yield f"But it {' and '.join(guard.fallen for guard in fallen)}, {others}."
    for signal in chosen.signals:
        if signal.raised:
            yield f"A sign of overfitting, {signal.name}: {signal.evidence}."


def over(num_prompts: int, words: Words, *, one_prompt: bool) -> str:
    """What a mean was taken over; one_prompt: where all pairs have the same caption, each pair is a unit."""
    if one_prompt:
        return f"{num_prompts} held-out pairs of one {words.prompt}"
    return f"{num_prompts} {words.prompt}{'' if num_prompts == 1 else 's'}"


def unguarded(columns: Sequence[Column]) -> Iterator[str]:
    """Guards that could not be checked. A person would take their silence for a pass."""
    for column in columns:
        yield f"The guard {column.title} could not be checked; `reason` in metrics.csv says why."


def _composite(composite: Estimate) -> str:
    """With its interval, negative is better; empty without one. Metrics may agree without any being sure by itself."""
    if composite.low is None or composite.high is None:
        return ""
    return f" {composite.mean:+.2f} ({composite.low:+.2f} to {composite.high:+.2f})"


def _in_words(deltas: Mapping[str, Estimate], metrics: MetricDescriptions) -> str:
    """Every delta with its interval and what it means, as a list a person reads."""
    differences = [(column, delta) for column in metrics.compared if (delta := deltas.get(column.name)) is not None]
    return "; ".join(
        f"{column.title} {_signed(delta.mean, column)} "
        f"({_signed(delta.low, column)} to {_signed(delta.high, column)}, {_word(column, delta)})"
        for column, delta in differences
        if delta.low is not None and delta.high is not None
    )


def _signed(value: float, column: Column) -> str:
    return f"{value:+.{column.decimals}f}"


def _word(column: Column, delta: Estimate) -> str:
    """A guard is only called lower or higher: which is better depends on what the real pictures score."""
    if not (delta.is_below_zero or delta.is_above_zero):
        return "no sure difference"
    if column.role == "guard" or not column.worsening:
        return "lower" if delta.is_below_zero else "higher"
    return "better" if delta.is_below_zero == (column.worsening > 0) else "worse"


def _worse(guard: Column) -> str:
    return "lower" if guard.direction == "higher" else "higher"
