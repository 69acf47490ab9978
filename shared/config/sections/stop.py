"""`[stop]`: when training ends early."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.config.resume_rule import Rule
from shared.config.sections.base import OrFalse, Section


class StopConfig(Section):
    """What ends training before max_train_steps, apart from a person."""

    rule: Annotated[Literal["off", "advise", "auto"], Rule.UPKEEP] = Field(
        default="advise",
        description="When the remaining steps cannot improve the composite by `evaluation.min_difference`: say so "
        "(`advise`), stop (`auto`), or neither (`off`).",
    )
    patience: Annotated[int, Rule.UPKEEP] = Field(
        default=5,
        ge=1,
        description="Snapshots at least over which the trend is measured. Half as many in a row with signs of "
        "overfitting are a reason to stop, too.",
    )
    min_snapshots: Annotated[int, Rule.UPKEEP] = Field(
        default=6, ge=1, description="Snapshots evaluated before the rule may speak."
    )
    validation_patience: Annotated[OrFalse[Annotated[int, Field(ge=1)]], Rule.UPKEEP] = Field(
        default=None,
        description="Held-out losses (`train.validation_steps`) in a row without a new lowest one, after which "
        "training ends; `false`: never. Resumed with more patience, it goes on.",
    )
    max_train_seconds: Annotated[OrFalse[Annotated[float, Field(gt=0)]], Rule.UPKEEP] = Field(
        default=None,
        description="Wall-clock seconds this session may last, last save included; `false`: no limit. "
        "Colab's free sessions end after about 12 hours.",
    )
    max_bad_steps: Annotated[int, Rule.UPKEEP] = Field(
        default=10,
        ge=1,
        description="Updates in a row without finite loss and gradients (all skipped) before giving up; those by which "
        "fp16 finds its loss scale do not count.",
    )
