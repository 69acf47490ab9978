"""A change of captions: what stood where before, and what stands there now."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.run_folder.records.record import Record
from shared.run_folder.times import Time, utc_now

Kind = Literal["edit", "replace", "caption", "undo"]
Encoding = Literal["utf-8", "utf-16-le", "utf-16-be"]


class Entry(BaseModel):
    """One text that was changed."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="Of the picture.")
    file: str = Field(description="Below the data set's folder, or the whole path.")
    is_row: bool = Field(default=False, description="The texts are those of a row of a table, else of the whole file.")
    encoding: Encoding = "utf-8"
    before: str | None = Field(description="None: there was no file.")
    after: str | None

    def inverse(self) -> Entry:
        """What takes it back."""
        return self.model_copy(update={"before": self.after, "after": self.before})


class Change(Record):
    """`.darkroom/captions/<id>.json` in the data set's folder: a change, written before the captions are."""

    id: str = Field(description="Sorts by time.")
    kind: Kind
    created: Time = Field(default_factory=utc_now)
    words: str = Field(default="", description="What was asked for: tags, a model.")
    undoes: str = Field(default="", description="Of an `undo`: the change that it takes back.")
    entries: tuple[Entry, ...] = ()
