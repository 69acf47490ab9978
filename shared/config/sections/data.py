"""`[data]`: the captioned pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from shared.config.sections.base import Section, false_is_none


class DataConfig(Section):
    """The captioned pictures and how they are varied."""

    path: str = Field(
        description="Folder of captioned pictures, a CSV file of paths and captions, a saved `datasets` folder, "
        "or `hub:owner/name`."
    )
    resolution: int = Field(
        default=512,
        ge=32,
        multiple_of=8,
        description="Side, in pixels, of the square a bucket's area may fill; SDXL is made for 1024.",
    )
    buckets: bool = Field(
        default=True, description="Keep aspect ratios by buckets of equal area; `false` cuts every picture square."
    )
    train_size: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(false_is_none)] = Field(
        default=None, description="Pairs trained on at most, chosen by seed; `false` takes all."
    )
    num_validation: int = Field(
        default=16,
        ge=2,
        description="Pairs held out from training; evaluation prompts and references come from them.",
    )
    validation_ids: tuple[str, ...] = Field(
        default=(),
        description="Pairs to hold out, by id (path without ending); the remaining num_validation are chosen by seed.",
    )
    regularization_path: str = Field(
        default="auto",
        description="Pictures of the class, trained on beside the subject's and never held out: their data set, apart "
        "from folders of `data.path` named `reg`, `regularization` …; `auto`: only such folders; `none`: every folder "
        "is trained on alike.",
    )
    masks: Literal["files", "alpha", "off"] = Field(
        default="files",
        description="Where pictures count in the loss: `files` is white in `<picture>.mask.png` or "
        "`<picture>-masklabel.png`, `alpha` what is opaque; `off`, or no mask, is everywhere.",
    )
    trigger_word: str = Field(
        default="",
        description="Put before every caption that does not contain it, but for pictures of the class; the caption of "
        "pictures that have none.",
    )
    random_flip: bool = Field(default=False, description="Mirror every other picture, chosen by seed and position.")
    caption_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share of captions replaced by an empty one, for guidance."
    )
    shuffle_tags: bool = Field(
        default=False, description="Shuffle comma-separated captions; their embeddings are then not cached."
    )
    tag_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of a caption's comma-separated tags left out each time; embeddings are then not cached.",
    )
    keep_tags: int = Field(
        default=1, ge=0, description="Tags at the front that are neither shuffled nor dropped; nor is the trigger word."
    )
    max_token_length: Literal[75, 150, 225] = Field(
        default=75,
        description="Tokens of a caption that are encoded; what is longer is cut off. 150 and 225 are two and three "
        "passes of the text encoders side by side, as in kohya's scripts.",
    )
    cache_dir: Path | None = Field(
        default=None, description="Folder of encoded pictures and captions; `<run.output_dir>/.cache` when absent."
    )
