"""`[stop]`: when training ends early."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from shared.config.sections.base import Section, false_is_none


class StopConfig(Section):
    """What ends training before max_train_steps, apart from a person."""

    rule: Literal["off", "advise", "auto"] = Field(
        default="advise",
        description="When snapshots no longer improve: say so (`advise`), stop (`auto`), or neither (`off`).",
    )
    patience: int = Field(
        default=5,
        ge=1,
        description="Snapshots without sure progress before the rule speaks; half as many while signals of "
        "overfitting stand.",
    )
    min_snapshots: int = Field(default=6, ge=1, description="Snapshots evaluated before the rule may speak.")
    max_train_seconds: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(false_is_none)] = Field(
        default=None,
        description="Wall-clock seconds this session may last, last save included; `false`: no limit. "
        "Colab's free sessions end after about 12 hours.",
    )
    max_bad_steps: int = Field(
        default=10,
        ge=1,
        description="Updates in a row without finite loss and gradients (all skipped) before giving up; those by which "
        "fp16 finds its loss scale do not count.",
    )
