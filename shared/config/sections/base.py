"""What every table of settings is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

T = TypeVar("T")


def false_is_none(value: Any) -> Any:
    """TOML has no null: `false` switches a number off."""
    return None if value is False else value


def zero_is_none(value: Any) -> Any:
    """Other trainers switch a limit off by 0."""
    return None if value is False or value == 0 else value


def number_or(*words: str, or_false: bool = False) -> Callable[[Any], Any]:
    """A reader of a number above 0 or one of these words; with `or_false`, `false` switches it off."""
    choices = [*(f'"{word}"' for word in words), *(["false"] if or_false else [])]
    rule = f"must be a number greater than 0, or {' or '.join(choices)}"

    def read(value: Any) -> Any:
        if value in words or (or_false and (value is None or value is False)):
            return value or None
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
            raise ValueError(rule)
        return float(value)

    return read


def count_or(*words: str) -> Callable[[Any], Any]:
    """A reader of a whole number above 0 or one of these words."""
    choices = " or ".join(f'"{word}"' for word in words)
    rule = f"must be a whole number greater than 0, or {choices}"

    def read(value: Any) -> Any:
        if value in words:
            return value
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(rule)
        return value

    return read


OrFalse: TypeAlias = Annotated[T | None, BeforeValidator(false_is_none)]
OrZero: TypeAlias = Annotated[T | None, BeforeValidator(zero_is_none)]


class Section(BaseModel):
    """A table of the TOML file: unknown keys are errors, values never change after loading.

    Each field has the rule for its change at a resume in its annotation: `rank: Annotated[int, Rule.STATE]`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class UncheckedSettings(Section):
    """The settings of a task as a run folder has them: who reads it without knowing the task cannot check them."""

    model_config = ConfigDict(extra="allow")
