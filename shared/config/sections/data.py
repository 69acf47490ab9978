"""`[data]`: the captioned pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from shared.config.resume_rule import Rule
from shared.config.sections.base import OrFalse, Section


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


def _none_or_several(count: int) -> int:
    if count == 1:
        raise ValueError("must be 0, or at least 2: one pair says nothing about others")
    return count


class DataConfig(Section):
    """The captioned pictures and how they are varied."""

    path: Annotated[str, Rule.SPLIT] = Field(
        description="Folder of captioned pictures, a CSV file of paths and captions, a saved `datasets` folder, "
        "or `hub:owner/name`. `none`: no pictures, which only a run of another trainer's LoRAs can do without."
    )
    resolution: Annotated[int, Rule.SPLIT] = Field(
        default=512,
        ge=32,
        multiple_of=8,
        description="Side, in pixels, of the square a bucket's area may fill; newer models are made for 1024.",
    )
    buckets: Annotated[bool, Rule.STREAM] = Field(
        default=True, description="Keep aspect ratios by buckets of equal area; `false` cuts every picture square."
    )
    train_size: Annotated[OrFalse[Annotated[int, Field(ge=1)]], Rule.STREAM] = Field(
        default=None, description="Pairs trained on at most, chosen by seed; `false` takes all."
    )
    num_validation: Annotated[int, Rule.SPLIT, AfterValidator(_none_or_several)] = Field(
        default=16,
        ge=0,
        description="Pairs held out from training; evaluation prompts and references come from them. 0: none, and "
        "snapshots are evaluated by `evaluation.prompts`.",
    )
    validation_ids: Annotated[tuple[str, ...], Rule.SPLIT] = Field(
        default=(),
        description="Pairs to hold out, by id (path without ending); the remaining num_validation are chosen by seed.",
    )
    group_key: Annotated[str, Rule.SPLIT, AfterValidator(_expression)] = Field(
        default="",
        description="Regular expression over ids: pairs in which it finds the same, its first group if it has one, are "
        "kept on one side of the split, such as `^[^_]+` for `dress12_front` and `dress12_back`. Pictures that look "
        "alike are kept together without it.",
    )
    regularization_path: Annotated[str, Rule.SPLIT] = Field(
        default="auto",
        description="Pictures of the class, trained on beside the subject's and never held out: their data set, apart "
        "from folders of `data.path` named `reg`, `regularization` …; `auto`: only such folders; `none`: every folder "
        "is trained on alike.",
    )
    masks: Annotated[Literal["files", "alpha", "off"], Rule.STEPS] = Field(
        default="files",
        description="Where pictures count in the loss: `files` is white in `<picture>.mask.png` or "
        "`<picture>-masklabel.png`, `alpha` what is opaque; `off`, or no mask, is everywhere.",
    )
    sources: Annotated[Literal["files", "off"], Rule.SPLIT] = Field(
        default="off",
        description="`files`: pairs for an edit model: a picture is what its caption, an instruction, makes of "
        "`<picture>.source.png` beside it, or of several, `<picture>.source-1.png` … The first is edited.",
    )
    trigger_word: Annotated[str, Rule.SPLIT] = Field(
        default="",
        description="Put before every caption that does not contain it, but for pictures of the class; the caption of "
        "pictures that have none.",
    )
    class_word: Annotated[str, Rule.RESULTS] = Field(
        default="",
        description="What kind of thing the subject is, in a word or two such as `dress`, `woman` or `dog`: "
        "`evaluation.probes` draws it without the trigger word. Empty: unknown.",
    )
    random_flip: Annotated[bool, Rule.STEPS] = Field(
        default=False, description="Mirror every other picture, chosen by seed and position."
    )
    caption_dropout: Annotated[float, Rule.STEPS] = Field(
        default=0.0, ge=0, lt=1, description="Share of captions replaced by an empty one, for guidance."
    )
    shuffle_tags: Annotated[bool, Rule.STEPS] = Field(
        default=False, description="Shuffle comma-separated captions; their embeddings are then not cached."
    )
    tag_dropout: Annotated[float, Rule.STEPS] = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of a caption's comma-separated tags left out each time; embeddings are then not cached.",
    )
    keep_tags: Annotated[int, Rule.STEPS] = Field(
        default=1, ge=0, description="Tags at the front that are neither shuffled nor dropped; nor is the trigger word."
    )
    max_token_length: Annotated[Literal[75, 150, 225], Rule.RESULTS] = Field(
        default=75,
        description="Tokens of a caption that are encoded; what is longer is cut off. 150 and 225 are two and three "
        "passes of the text encoders side by side, as in kohya's scripts.",
    )
    cache_dir: Annotated[Path | None, Rule.UPKEEP] = Field(
        default=None, description="Folder of encoded pictures and captions; `<run.output_dir>/.cache` when absent."
    )
