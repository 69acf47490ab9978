"""The step of each LoRA of a training: from names and headers, from epochs, or from what comes before it. Pure.

A step in the name counts before one in the header. Where only epochs are known, they are the numbers. A LoRA without
any number is the last one; it comes one interval after the others. Of LoRAs with the same bytes only the first counts.
"""

from __future__ import annotations

import glob
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from shared.errors import ConfigError
from shared.run_folder.phrase import Unit
from tasks.text_to_image.foreign.files.found import Found

Same = Callable[[Found, Found], bool]
"""Whether two LoRAs have the same bytes."""


@dataclass(frozen=True)
class Numbered:
    """LoRAs by step, in order, and what was decided about them, in sentences."""

    loras: Mapping[int, Found]
    unit: Unit
    said: tuple[str, ...] = ()
    guessed: frozenset[int] = frozenset()
    """Steps that no name or header tells: of the last one, and of an epoch whose steps another file tells."""


def number(loras: Sequence[Found], same: Same, unit: Unit | None = None) -> Numbered:
    """The steps of LoRAs of one training.

    same: asked of any two. unit: of those that have been numbered before.

    Raises:
        ConfigError: they are of several trainings, or their numbers cannot be compared.
    """
    loras, apart = _of_one_training(loras)
    unit = unit or _unit(loras)
    per_epoch = _steps_per_epoch(loras)
    steps = {one.label: _step(one, unit, per_epoch) for one in loras}
    placed = [(step, one) for one in loras if (step := steps[one.label]) is not None]
    last = [one for one in loras if steps[one.label] is None and not one.name.is_numbered]
    unplaced = [one for one in loras if steps[one.label] is None and one.name.is_numbered]
    first = [one for one in unplaced if 0 in (one.name.step, one.name.epoch) and not one.fault]
    unplaced = [one for one in unplaced if one not in first]
    apart += [f"{one.label} is left out: {unit} 0 is the base model, without a LoRA" for one in first]
    said = [*apart, *(f"{one.label} waits: it {one.fault}" for one in unplaced if one.fault)]
    if lost := [one.label for one in unplaced if not one.fault]:
        by_step = any("step" in one.label for _, one in placed) and not any("step" in label for label in lost)
        raise ConfigError(
            f"{some(lost)}: an epoch's number, where others have a step's, and no header tells the steps of an epoch",
            "name those of one kind with --files" + (", such as --files '*step*'" if by_step else ""),
        )
    if unit == "epoch" and any(_epoch(one) for one in loras if not one.fault):
        said.append("no file tells its step: the numbers are epochs")
    chosen, about = _one_of_each(placed, same, unit)
    kept, copies = _without_copies([*sorted(chosen.items()), *((None, one) for one in last)], same)
    loras_by_step = {step: one for step, one in kept if step is not None}
    guessed = {step for step, one in loras_by_step.items() if unit == "step" and _told(one) is None}
    if guessed:
        named = some([f"{loras_by_step[step].label} (step {step})" for step in sorted(guessed)])
        said.append(f"no name or header tells the steps of {named}: a guess, of {per_epoch:g} steps an epoch")
    for one in (one for step, one in kept if step is None):  # at most one
        step = max(loras_by_step, default=0) + _interval([*loras_by_step])
        guessed.add(step)
        loras_by_step[step] = one
        said.append(f"{one.label} has no number: it is taken as the last one, as {unit} {step}")
    return Numbered(loras_by_step, unit, (*said, *about, *copies), frozenset(guessed))


def _of_one_training(loras: Sequence[Found]) -> tuple[list[Found], list[str]]:
    """Those of the training that is numbered here, with its last one, and what is said of others that have no number.

    Raises:
        ConfigError: several trainings are numbered, or there are several without a number and nothing tells whose.
    """
    stems = Counter(one.name.stem for one in loras if one.name.is_numbered and one.name.stem)
    last = [one for one in loras if not one.name.is_numbered]
    others = [one for one in last if stems and one.name.stem and one.name.stem not in stems]
    older = sorted((one for one in last if one not in others), key=_changed)[:-1] if stems else []
    if len(stems) > 1 or len(last) - len(others) - len(older) > 1:
        counts = stems + Counter({one.name.stem or one.label: 1 for one in last})
        listed = ", ".join(f"{stem} ({count})" for stem, count in sorted(counts.items()))
        largest = max(sorted(counts), key=lambda stem: counts[stem])
        cure = (
            f"name those that belong together with --files, such as --files {shlex.quote(glob.escape(largest) + '*')}"
        )
        if not stems:
            cure += "; or let the names of one training end in its steps, as dress-25 and dress-50 do"
        raise ConfigError(f"the LoRAs are of several trainings: {listed}", cure)
    said = [f"{one.label} is left out: it is not called {min(stems)}, and has no number" for one in others]
    said += [f"{one.label} is left out: another file without a number is newer" for one in older]
    return [one for one in loras if one not in others and one not in older], said


def _changed(one: Found) -> int:
    return max(changed for _, changed in one.state)


def _unit(loras: Sequence[Found]) -> Unit:
    has_steps = any(one.name.step or one.facts.step for one in loras)
    return "epoch" if any(map(_epoch, loras)) and not has_steps else "step"


def _epoch(one: Found) -> int | None:
    return one.name.epoch or one.facts.epoch


def _step(one: Found, unit: Unit, per_epoch: float | None) -> int | None:
    """None: neither its name nor its header tells."""
    epoch = _epoch(one)
    if unit == "epoch":
        return epoch
    step = _told(one)
    if step is None and epoch is not None and per_epoch is not None:
        step = round(epoch * per_epoch)
    return step


def _told(one: Found) -> int | None:
    """Its step by its own name or header."""
    return one.name.step or one.facts.step


def _steps_per_epoch(loras: Sequence[Found]) -> float | None:
    """From a file whose name tells its epoch and whose header its steps; kohya's headers count epochs in two ways."""
    known = [one.facts.step / one.name.epoch for one in loras if one.facts.step and one.name.epoch]
    return max(known, default=None)


def _interval(steps: Sequence[int]) -> int:
    """The usual distance of two; of one, its step."""
    ordered = sorted(set(steps))
    distances = Counter(later - earlier for earlier, later in pairwise([0, *ordered]))
    return distances.most_common(1)[0][0] if distances else 1


def _one_of_each(placed: Sequence[tuple[int, Found]], same: Same, unit: Unit) -> tuple[dict[int, Found], list[str]]:
    """One LoRA for each step: what can be read first, then the last one of the training, then the first by name."""
    chosen: dict[int, Found] = {}
    said: list[str] = []
    for step, one in sorted(placed, key=_order):
        first = chosen.setdefault(step, one)
        if first is one:
            continue
        if same(first, one):
            said.append(f"{one.label} is left out: it is a copy of {first.label}, both of {unit} {step}")
        else:
            if one.fault and not first.fault:
                why = "which can be read"
            else:
                why = "which is the last one" if not first.name.is_numbered else "which comes first by name"
            said.append(f"{one.label} is left out: {first.label}, {why}, is of {unit} {step} too")
    return chosen, said


def _order(placed: tuple[int, Found]) -> tuple[int, bool, bool, str]:
    step, one = placed
    return step, bool(one.fault), one.name.is_numbered, one.label


def _without_copies(
    ordered: Sequence[tuple[int | None, Found]], same: Same
) -> tuple[list[tuple[int | None, Found]], list[str]]:
    """The first of those with the same bytes: evaluated twice, one LoRA would stand as two candidates."""
    kept: list[tuple[int | None, Found]] = []
    said: list[str] = []
    for step, one in ordered:
        first = next((former for _, former in kept if not one.fault and not former.fault and same(former, one)), None)
        if first is None:
            kept.append((step, one))
        else:
            said.append(f"{one.label} is left out: it has the same bytes as {first.label}")
    return kept, said


def some(labels: Sequence[str]) -> str:
    """The first three, and how many more there are."""
    more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
    return ", ".join(labels[:3]) + more
