"""One setting of a search space: a list of choices, or a range."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Number: TypeAlias = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True, allow_inf_nan=False)]
Label: TypeAlias = str | int | float | bool
WITHIN = 0.3717
"""Where in a range of floats a value between its ends is tried: one that is no integer by chance."""


class Range(BaseModel):
    """`{ low = 1e-5, high = 1e-3, log = true }`; whole numbers where every number is one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: Number
    high: Number
    log: bool = False
    step: Number | None = None

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return all(isinstance(number, int) for number in (self.low, self.high, self.step) if number is not None)

    def problems(self) -> Iterator[str]:
        """What is wrong with it, and the cure."""
        if self.low >= self.high:
            yield f"low is {self.low:g} and high {self.high:g}: give a low that is below high"
        elif self.step is not None and self.step > self.high - self.low:
            yield f"step is {self.step:g}, more than from low to high: give a smaller one"
        if self.log and self.low <= 0:
            yield f"low is {self.low:g}, and a logarithm needs more than 0: raise it, or leave log out"
        if self.step is not None and self.step <= 0:
            yield f"step is {self.step:g}: give one above 0"
        if self.log and self.step is not None:
            yield "log and step do not go together: leave one of them out, or list the values"


@dataclass(frozen=True)
class Dimension:
    """A setting that is searched over."""

    key: str
    """`train.learning_rate`."""
    choices: tuple[Any, ...] = ()
    """Values as TOML has them, where it is no range."""
    range: Range | None = None

    @property
    def labels(self) -> dict[Label, Any]:
        """What stands for a choice in the journal and in tables → the choice."""
        return {label(choice): choice for choice in self.choices}

    def tried(self) -> list[Any]:
        """Values by which it can be told whether the space suits the setting."""
        if self.range is None:
            return list(self.choices)
        low, high = self.range.low, self.range.high
        return [low, high, *([] if self.range.is_whole or self.range.step else [low + WITHIN * (high - low)])]

    def all_values(self) -> list[Any] | None:
        """Every value, in order; None: there are too many to list."""
        if self.range is None:
            return list(self.choices)
        step = self.range.step or (1 if self.range.is_whole and not self.range.log else None)
        if step is None:
            return None
        count = math.floor((self.range.high - self.range.low) / step + 1e-9) + 1
        return [self.range.low + number * step for number in range(count)]

    def describe(self) -> Any:
        """As the record of the sweep has it."""
        return self.range.model_dump(exclude_none=True) if self.range else [label(choice) for choice in self.choices]


def label(value: Any) -> Label:
    """A choice that is a list or a table, in one line; any other is its own label."""
    return value if isinstance(value, str | int | float | bool) else json.dumps(value, ensure_ascii=False)


def read(key: str, given: Any) -> tuple[Dimension | None, list[str]]:
    """The dimension of a value of `[space]`, and what is wrong with it."""
    if isinstance(given, Mapping) and "choices" in given:
        others = [name for name in cast("Mapping[str, Any]", given) if name != "choices"]
        if others:
            return None, [f"choices and {', '.join(others)} do not go together: give choices or a range"]
        return read(key, given["choices"])
    if isinstance(given, list):
        return _choices(key, cast("list[Any]", given))
    if not isinstance(given, Mapping):
        return None, [f"is {given!r}: give a list of choices, or a range such as {{ low = 1e-5, high = 1e-3 }}"]
    try:
        range_ = Range.model_validate(given)
    except ValidationError as error:
        return None, [_of_range(problem) for problem in _distinct(error)]
    problems = list(range_.problems())
    return (None if problems else Dimension(key, range=range_)), problems


def grid(dimensions: Sequence[Dimension]) -> list[dict[str, Any]] | None:
    """Every combination; None: one of the ranges has no step."""
    values = [dimension.all_values() for dimension in dimensions]
    if any(one is None for one in values):
        return None
    keys = [dimension.key for dimension in dimensions]
    return [dict(zip(keys, one, strict=True)) for one in itertools.product(*(each or [] for each in values))]


def _choices(key: str, given: list[Any]) -> tuple[Dimension | None, list[str]]:
    labels = [label(choice) for choice in given]
    if not given:
        return None, ["has no choices: list at least two"]
    if len(given) == 1:
        return None, ["has one choice, which is no search: list another one, or put it under [settings]"]
    if repeated := [str(one) for one in dict.fromkeys(labels) if labels.count(one) > 1]:
        return None, [f"has {', '.join(repeated)} more than once: list each choice once"]
    return Dimension(key, choices=tuple(given)), []


def _distinct(error: ValidationError) -> list[Any]:
    """One for each key: pydantic tells of every type that a number may have."""
    return list({str(problem["loc"][0]): problem for problem in error.errors()}.values())


def _of_range(problem: Any) -> str:
    name = problem["loc"][0]
    if problem["type"] == "missing":
        return f"has no {name}: a range has low and high"
    if problem["type"] == "extra_forbidden":
        return f"has {name}, which no range has: give low, high, log and step"
    return f"{name} is {problem['input']!r}: give {'true or false' if name == 'log' else 'a number'}"
