"""The table `[language_model]` of a config."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.config.resume_rule import Rule
from shared.config.sections.base import Section


class Settings(Section):
    """How texts become tokens, and what is asked of a snapshot."""

    context_length: Annotated[int, Rule.SPLIT] = Field(
        default=512, ge=8, description="Tokens that an example may have, and that a row of a batch has at most."
    )
    too_long: Annotated[Literal["error", "skip", "cut"], Rule.SPLIT] = Field(
        default="error",
        description="What is done with examples of more than `context_length` tokens: refuse the data set, leave them "
        "out, or cut off their end.",
    )
    mask_prompt: Annotated[bool, Rule.SPLIT] = Field(
        default=True,
        description="Only what is answered counts in the loss: `completion`, and what the assistant says. Of `text` "
        "every token counts.",
    )
    packing: Annotated[bool, Rule.STEPS] = Field(
        default=True,
        description="Short examples of a batch share a row and do not see one another: less padding, the same losses. "
        "A model that cannot keep them apart is refused.",
    )
    max_new_tokens: Annotated[int, Rule.RESULTS] = Field(
        default=128, ge=1, le=8192, description="Tokens of an answer at most, when a snapshot is evaluated."
    )
    syntax: Annotated[Literal["none", "python"], Rule.RESULTS] = Field(
        default="none",
        description="`python`: also measure the share of answers that Python can parse; they are never run.",
    )
