"""Part of `best.json`: at which strength to use the LoRA."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from shared.run_folder.phrase import Phrase
from shared.run_folder.records.interval import Interval


class AtStrength(BaseModel):
    """The snapshot at one strength, drawn with the prompts and seeds of the first evaluation."""

    model_config = ConfigDict(frozen=True)

    strength: float
    composite: Interval | None = Field(description="Against the base model, of this strength alone.")
    behind_full: Interval | None = Field(
        default=None,
        description="Against strength 1, above 0 is worse; the intervals hold for all strengths at once. None at 1.",
    )
    passed_over: str = Field(default="", description="Why it may not be recommended: a guard, a sign of overfitting.")


class Strength(BaseModel):
    """Which strength to use, and what is left of the subject at a lower one."""

    model_config = ConfigDict(frozen=True)

    recommended: float
    drawn: tuple[AtStrength, ...] = Field(description="By strength; 1 is the first evaluation.")
    lower: float = Field(description="The strength at which it was asked whether the subject survives.")
    kept: float | None = Field(
        default=None, description="Share of the gain at strength 1 that is left there; None: cannot be told."
    )
    survives: bool | None = Field(
        default=None,
        description="At least half of the gain is left there, and the composite is still surely better than the base "
        "model's. None: cannot be told.",
    )
    reason: str
    reason_phrases: tuple[Phrase, ...] = Field(default=(), description="The same, to be said in other languages.")
