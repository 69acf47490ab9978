"""How often something is saved: every so many steps, epochs or minutes, or denser at first and rarer later.

In TOML: `100`, `"2 epochs"`, `"10 minutes"`, or pairs: `[[0, 25], [200, 100]]` is every 25 steps from step 0 on and
every 100 from step 200 on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, cast

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*(epoch|minute)s?")
RULE = 'must be steps (100), "2 epochs", "10 minutes", or [[from step, every], …] beginning at step 0 and ascending'


@dataclass(frozen=True)
class EverySteps:
    """Optimizer updates between two saves, by the step they hold from: ((0, 25), (200, 100))."""

    schedule: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class EveryEpochs:
    """Passes over the training pictures between two saves; at least one optimizer update."""

    epochs: float


@dataclass(frozen=True)
class EveryMinutes:
    """Wall-clock minutes between two saves. The steps saved at then differ from run to run."""

    minutes: float


AnySaveInterval: TypeAlias = EverySteps | EveryEpochs | EveryMinutes


def is_due(interval: AnySaveInterval, step: int, epochs: tuple[float, float], seconds_since_save: float) -> bool:
    """Whether `step` is one to save at. epochs: passes over the data before it and after it."""
    if isinstance(interval, EverySteps):
        start, every = max(pair for pair in interval.schedule if pair[0] < step)
        return (step - start) % every == 0
    if isinstance(interval, EveryEpochs):
        before, after = epochs
        return _count(after, interval.epochs) > _count(before, interval.epochs)
    return seconds_since_save >= interval.minutes * 60


def steps_due(interval: AnySaveInterval, step: int, last_step: int, steps_per_epoch: float) -> list[int]:
    """Steps after `step` to save at, as far as they are known: the last one always saves."""
    if step >= last_step:
        return []
    if isinstance(interval, EveryMinutes):
        return [last_step]
    numbers = range(step + 1, last_step)
    return [
        *(n for n in numbers if is_due(interval, n, ((n - 1) / steps_per_epoch, n / steps_per_epoch), 0.0)),
        last_step,
    ]


def parse(value: Any) -> AnySaveInterval:
    """From a TOML value.

    Raises:
        ValueError: with the rule.
    """
    if isinstance(value, (EverySteps, EveryEpochs, EveryMinutes)):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return EverySteps(((0, value),))
    if isinstance(value, str) and (match := TEXT.fullmatch(value.strip())) and float(match[1]) > 0:
        return EveryEpochs(float(match[1])) if match[2] == "epoch" else EveryMinutes(float(match[1]))
    if isinstance(value, (list, tuple)):
        pairs = list(cast("list[Any]", value))
        if _is_schedule(pairs):
            return EverySteps(tuple((start, every) for start, every in pairs))
    raise ValueError(RULE)


def dump(interval: AnySaveInterval) -> Any:
    """To the TOML value that `parse` reads back to an equal interval."""
    if isinstance(interval, EverySteps):
        simple = len(interval.schedule) == 1
        return interval.schedule[0][1] if simple else [list(pair) for pair in interval.schedule]
    if isinstance(interval, EveryEpochs):
        return f"{interval.epochs:g} epochs"
    return f"{interval.minutes:g} minutes"


def _is_schedule(pairs: list[Any]) -> bool:
    try:
        starts = [start for start, _ in pairs]
        whole = all(type(number) is int for pair in pairs for number in pair)
    except (TypeError, ValueError):
        return False
    return whole and starts[:1] == [0] and starts == sorted(set(starts)) and all(every > 0 for _, every in pairs)


def _count(epoch: float, every: float) -> int:
    return int(epoch / every + 1e-9)


SaveInterval = Annotated[
    AnySaveInterval,
    BeforeValidator(parse),
    PlainSerializer(dump),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "array"}]}),
]
