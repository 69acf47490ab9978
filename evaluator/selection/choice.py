"""The snapshot to ship, and the reason in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evaluator.selection.summary import Summary
from evaluator.selection.trend import MIN_SMOOTHED
from shared.run_folder.averages import ends, is_average, label
from shared.run_folder.metric_descriptions import Column, Guard, MetricDescriptions, Words
from shared.run_folder.phrase import Phrase, joined, phrase
from shared.statistics.paired import Estimate


@dataclass(frozen=True)
class Selection:
    """The snapshot to ship. Its intervals hold for all snapshots at once, see `bands`: it was picked among them."""

    step: int
    sentences: tuple[Phrase, ...]
    """Why this one."""
    better_than_base: bool
    """Only when the composite's interval lies below zero."""
    passes_guards: bool
    """False when every snapshot fails a guard, and this is merely the best of those."""
    flagged: bool
    """It fails a guard or shows a sign of overfitting, as every other snapshot does: none can be recommended."""
    objections: dict[int, Phrase]
    """Step → why it may not be shipped, in words after `it`; empty where that holds for all."""
    indistinguishable: tuple[int, ...]
    """Steps of the snapshots that cannot be told from the best, itself included."""
    composite: Estimate
    deltas: dict[str, Estimate]
    num_evaluated: int
    num_averages: int
    """Of those that were evaluated."""
    num_deleted: int = 0
    """Of those that were evaluated and not passed over: without weights by now."""
    better: tuple[int, ...] = ()
    """Those of them with a better composite, the best first."""

    @property
    def num_left(self) -> int:
        """Among which this one was chosen."""
        return self.num_evaluated - len(self.objections) - self.num_deleted

    @property
    def reason(self) -> str:
        """The sentences in English."""
        return " ".join(map(str, self.sentences))


def no_recommendation(flagged: Mapping[int, tuple[bool, bool]], *, some_deleted: bool) -> Iterator[Phrase]:
    """That no snapshot can be recommended. flagged: each step → (fails a guard, shows a sign); some_deleted: others
    were evaluated, and their weights deleted."""
    guards, signs = zip(*flagged.values(), strict=True)
    if not any(guards):
        does = phrase("shows a sign of overfitting")
    elif all(guards) and not any(signs):
        does = phrase("fails a guard")
    else:
        does = phrase("fails a guard or shows a sign of overfitting")
    if some_deleted:
        yield phrase(
            "No snapshot can be recommended: every one of the {count} that have weights {does}.",
            count=len(flagged),
            does=does,
        )
    elif len(flagged) == 1:
        yield phrase("No snapshot can be recommended: the only one evaluated {does}.", does=does)
    else:
        yield phrase(
            "No snapshot can be recommended: every one of the {count} evaluated {does}.", count=len(flagged), does=does
        )


def choice(selection: Selection, top: int, min_difference: float, overruled: int | None = None) -> Iterator[Phrase]:
    """Why this one. top: step of the best smoothed composite; overruled: what was chosen before the final."""
    step, num_left = selection.step, selection.num_left
    smoothed = selection.num_evaluated - selection.num_averages >= MIN_SMOOTHED
    composite = phrase("smoothed composite") if smoothed else phrase("composite")
    among = _among(selection)
    if overruled is not None and overruled == top:
        yield phrase(
            "The final chose step {step} over step {overruled}, which had the best {composite} of {among} before it.",
            step=step,
            overruled=overruled,
            composite=composite,
            among=among,
        )
    elif overruled is not None:
        yield phrase(
            "The final chose step {step} over step {overruled}, which was chosen among {among} before it.",
            step=step,
            overruled=overruled,
            among=among,
        )
    elif selection.num_evaluated == 1:
        yield phrase("Step {step} is the only snapshot evaluated.", step=step)
    elif num_left == 1:
        yield phrase(
            "Step {step} is the only one of {candidates} that {does}.",
            step=step,
            candidates=_candidates(selection.num_evaluated, selection.num_averages),
            does=_does(selection),
        )
    elif step == top:
        yield phrase("Step {step} has the best {composite} of {among}.", step=step, composite=composite, among=among)
        yield _others(selection, num_left)
    else:
        yield phrase(
            "Step {step} is the earliest of {among} that cannot be told from the best (step {top}) and is less than "
            "{difference:g} behind it in the {composite}.",
            step=step,
            among=among,
            top=top,
            difference=min_difference,
            composite=composite,
        )
    yield from passed_over(selection.objections)
    yield from _without_weights(selection, composite)


def _without_weights(selection: Selection, composite: Phrase) -> Iterator[Phrase]:
    """That snapshots did not compete because `train.snapshots_total_limit` has deleted their weights."""
    if selection.better:
        yield phrase(
            "Step {step} had a better {composite}, but its weights were deleted (train.snapshots_total_limit).",
            step=selection.better[0],
            composite=composite,
        )
    elif selection.num_deleted == 1:
        yield phrase("The weights of 1 other snapshot were deleted (train.snapshots_total_limit).")
    elif selection.num_deleted:
        yield phrase(
            "The weights of {count} other snapshots were deleted (train.snapshots_total_limit).",
            count=selection.num_deleted,
        )


def _among(selection: Selection) -> Phrase:
    """Those that were not passed over, by what they have in common."""
    objections = selection.objections
    left = _candidates(selection.num_left, selection.num_averages - sum(map(is_average, objections)))
    if selection.num_deleted and not selection.flagged:
        return phrase("the {candidates} that may be shipped", candidates=left)
    if not objections:
        return left
    if not selection.flagged:
        return phrase("the {candidates} that may be shipped", candidates=left)
    if selection.passes_guards:
        return phrase("the {candidates} that pass every guard", candidates=left)
    return phrase("the {candidates} that show no sign of overfitting", candidates=left)


def _candidates(count: int, num_averages: int) -> Phrase:
    """So many, of which some are averages of the others."""
    if not num_averages:
        return phrase("{count} snapshots", count=count)
    if num_averages == 1:
        return phrase("{count} snapshots and 1 average", count=count - 1)
    return phrase("{count} snapshots and {averages} averages", count=count - num_averages, averages=num_averages)


def _does(selection: Selection) -> Phrase:
    """What only one does."""
    if not selection.flagged:
        return phrase("may be shipped")
    return phrase("passes every guard") if selection.passes_guards else phrase("shows no sign of overfitting")


def _others(selection: Selection, num_left: int) -> Phrase:
    """Which snapshots are as good as the best, for all that is known."""
    others = [step for step in selection.indistinguishable if step != selection.step]
    if num_left == 2:
        return phrase("The other one cannot be told from it.") if others else phrase("The other one is surely worse.")
    if not others:
        return phrase("The others are surely worse.")
    if len(others) == num_left - 1:
        return phrase("None of the others can be told from it.")
    if len(others) == 1:
        return phrase("Step {step} cannot be told from it; the others are surely worse.", step=others[0])
    return phrase("Steps {steps} cannot be told from it; the others are surely worse.", steps=listed(others))


def listed(steps: Sequence[int]) -> Phrase | str:
    """After the word steps: `100, 200`, in every language; `100, 200 and the average of 100 to 300`."""
    alone, averages = [one for one in steps if not is_average(one)], [both for one in steps if (both := ends(one))]
    if not averages or not alone:
        return ", ".join(map(label, steps))
    told = joined("{one}, {other}", [phrase("{first} to {last}", first=first, last=last) for first, last in averages])
    if len(averages) == 1:
        return phrase("{steps} and the average of {ends}", steps=listed(alone), ends=told)
    return phrase("{steps} and the averages of {ends}", steps=listed(alone), ends=told)


def passed_over(objections: Mapping[int, Phrase]) -> Iterator[Phrase]:
    """Which snapshots may not be shipped, and why."""
    steps_of: dict[str, list[int]] = {}
    for step, reason in objections.items():
        steps_of.setdefault(str(reason), []).append(step)
    for steps in steps_of.values():
        reason = objections[steps[0]]
        if len(steps) == 1:
            yield phrase("Passed over: step {step}, which {reason}.", step=steps[0], reason=reason)
        else:
            yield phrase("Passed over: steps {steps}, each of which {reason}.", steps=listed(steps), reason=reason)


def findings(
    selection: Selection,
    chosen: Summary,
    metrics: MetricDescriptions,
    fallen: Sequence[Guard],
    *,
    one_prompt: bool,
    confirmed: bool = False,
) -> Iterator[Phrase]:
    """Whether it is better than the base model, and what speaks against it.

    confirmed: the final says whether it is better, so of these pictures only the numbers are said.
    """
    said = {
        "prompts": over(selection.composite.num_prompts, metrics.words, one_prompt=one_prompt),
        "base": metrics.words.base,
        "interval": with_interval(selection.composite),
        "differences": _in_words(selection.deltas, metrics, one_prompt=one_prompt),
    }
    if confirmed:
        yield phrase("The first evaluation alone, over {prompts}: composite{interval}; {differences}.", **said)
    elif selection.better_than_base:
        yield phrase("Over {prompts} it is better than {base} by the composite{interval}: {differences}.", **said)
    else:
        yield phrase(
            "Over {prompts} it is not shown to be better than {base} by the composite{interval}: {differences}.", **said
        )
    guards = [(column, column.guard) for column in metrics.columns if column.guard]
    for column, guard in guards:
        real, delta = chosen.means.get(guard.real), selection.deltas.get(column.name)
        if not fallen and real is not None and delta is not None and _word(column, delta) == _worse(column):
            facts = {"sample": metrics.words.sample, "real": real, "title": column.title, "base": metrics.words.base}
            if column.direction == "higher":
                yield phrase(
                    "Real {sample}s score {real:.3f} in {title}: to score below {base} is right here.", **facts
                )
            else:
                yield phrase(
                    "Real {sample}s score {real:.3f} in {title}: to score above {base} is right here.", **facts
                )
    if fallen:
        does = joined("{one} and {other}", (phrase(guard.fallen) for guard in fallen))
        if len(guards) == 1:
            yield phrase("But it {does}, as does every other snapshot.", does=does)
        else:
            yield phrase("But it {does}, and no other snapshot passes every guard.", does=does)
    for signal in chosen.signals:
        if signal.raised:
            yield phrase("A sign of overfitting, {name}: {evidence}.", name=signal.name, evidence=signal.said)


def surer(step: int, proven: Sequence[int], words: Words) -> Iterator[Phrase]:
    """That others are surely better than the base model, where the choice is not. proven: these, the best first."""
    if step in proven or not proven:
        return
    if len(proven) == 1:
        yield phrase(
            "Step {other} is surely better than {base}, step {step} is not: take step {other} if you want to be sure.",
            step=step,
            other=proven[0],
            base=words.base,
        )
    else:
        yield phrase(
            "Steps {others} are surely better than {base}, step {step} is not: take step {first}, the best of these, "
            "if you want to be sure.",
            step=step,
            others=listed(sorted(proven)),
            first=proven[0],
            base=words.base,
        )


def over(num_prompts: int, words: Words, *, one_prompt: bool) -> Phrase:
    """What a mean was taken over; one_prompt: where all pairs have the same caption, each pair is a unit."""
    if one_prompt:
        return phrase("{count} {pair}s of one {unit}", count=num_prompts, pair=words.pair, unit=words.prompt)
    if num_prompts == 1:
        return phrase("1 {unit}", unit=words.prompt)
    return phrase("{count} {unit}s", count=num_prompts, unit=words.prompt)


def unguarded(columns: Sequence[Column], missing: Mapping[str, str]) -> Iterator[Phrase]:
    """Guards that could not be checked. A person would take their silence for a pass. missing: column → why."""
    for column in columns:
        parts = (column.name, column.guard.shuffled) if column.guard else (column.name,)
        if why := next(filter(None, map(missing.get, parts)), ""):
            yield phrase("The guard {title} could not be checked: {why}.", title=column.title, why=why)
            continue
        yield phrase("The guard {title} could not be checked; `reason` in metrics.csv says why.", title=column.title)


def with_interval(composite: Estimate) -> Phrase | str:
    """A composite with its interval, negative is better; empty without one.

    Metrics may agree without any being sure by itself.
    """
    if composite.low is None or composite.high is None:
        return ""
    return phrase(
        " {mean:+.2f} ({low:+.2f} to {high:+.2f})", mean=composite.mean, low=composite.low, high=composite.high
    )


def _in_words(deltas: Mapping[str, Estimate], metrics: MetricDescriptions, *, one_prompt: bool) -> Phrase | str:
    """Every delta with its interval and what it means, as a list a person reads."""
    differences = [(column, delta) for column in metrics.compared if (delta := deltas.get(column.name)) is not None]
    told = [
        _in_word(column, delta, delta.low, delta.high)
        if column.is_told(delta.low, delta.high)
        else phrase(
            "{title} {delta} (unknown with {prompts})",
            title=column.title,
            delta=_signed(delta.mean, column),
            prompts=over(delta.num_prompts, metrics.words, one_prompt=one_prompt),
        )
        for column, delta in differences
        if delta.low is not None and delta.high is not None
    ]
    return joined("{one}; {other}", told) if told else ""


def _in_word(column: Column, delta: Estimate, low: float, high: float) -> Phrase:
    return phrase(
        "{title} {delta} ({low} to {high}, {word})",
        title=column.title,
        delta=_signed(delta.mean, column),
        low=_signed(low, column),
        high=_signed(high, column),
        word=_word(column, delta),
    )


def _signed(value: float, column: Column) -> str:
    return f"{value:+.{column.decimals}f}"


def _word(column: Column, delta: Estimate) -> Phrase:
    """A guard is only called lower or higher: which is better depends on what the real pictures score."""
    if not (delta.is_below_zero or delta.is_above_zero):
        return phrase("no sure difference")
    if column.role == "guard" or not column.worsening:
        return phrase("lower") if delta.is_below_zero else phrase("higher")
    return phrase("better") if delta.is_below_zero == (column.worsening > 0) else phrase("worse")


def _worse(guard: Column) -> Phrase:
    return phrase("lower") if guard.direction == "higher" else phrase("higher")
