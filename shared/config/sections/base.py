"""What every table of settings is made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


def false_is_none(value: Any) -> Any:
    """TOML has no null: `false` switches a number off."""
    return None if value is False else value


def zero_is_none(value: Any) -> Any:
    """Other trainers switch a limit off by 0."""
    return None if value is False or value == 0 else value


class Section(BaseModel):
    """A table of the TOML file: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
