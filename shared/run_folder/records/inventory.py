"""`dataset.json`: the pairs a run was made of."""

from __future__ import annotations

from collections.abc import Hashable

from pydantic import BaseModel, ConfigDict, Field

from shared.run_folder.records.record import Record


class PairRecord(BaseModel):
    """A picture and its caption as the run began with them."""

    model_config = ConfigDict(frozen=True)

    id: str
    image: str = Field(description="sha256 of the picture's bytes.")
    caption: str = Field(description="With the trigger word; its class where the pairs are `classified`.")
    repeats: int = 1
    is_regularization: bool = False
    mask: str = Field(default="", description="sha256 of the mask's file; empty without one.")
    sources: tuple[str, ...] = Field(default=(), description="sha256 of what the picture is made from, in order.")

    @property
    def content(self) -> Hashable:
        """Everything but the name."""
        return self.image, self.caption, self.repeats, self.is_regularization, self.mask, self.sources


class Inventory(Record):
    """`dataset.json`: the pairs a run was made of, one by one, so that a change can be named; written once."""

    pairs: tuple[PairRecord, ...]
    classified: bool = Field(
        default=False,
        description="What stands as caption is a class, which many pictures have: each picture is a unit of its own.",
    )
    example: str = Field(
        default="",
        description="What one of them is called, such as `example`, where it is no captioned picture: each is a unit "
        "of its own, its `image` the digest of its content, its caption the beginning of what is asked.",
    )
    paths: dict[str, str] = Field(
        default_factory=dict,
        description="Id → where the picture lay: below the data set's folder, or its whole path; empty: an older run.",
    )
    source_paths: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Id → where its sources lay, likewise, in order; absent without any."
    )
