"""The table `[toy_task]` of a config."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.config.resume_rule import Rule
from shared.config.sections.base import Section


class Settings(Section):
    every: Annotated[int, Rule.SPLIT] = Field(default=3, ge=2, description="Every so many rows, one is held out.")
    power: Annotated[float, Rule.STEPS] = Field(default=2, gt=0, description="Of the error, in the loss.")
