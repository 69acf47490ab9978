"""Parts of `result.json` that pages draw as they are: numbers of a whole evaluation, tables, pictures, texts."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Figure(BaseModel):
    """A number of a whole evaluation that is no mean over its samples, with its 95 % interval."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float | None = None
    high: float | None = None


class ExhibitTable(BaseModel):
    """Numbers in rows and columns."""

    model_config = ConfigDict(frozen=True)

    of_rows: str = Field(default="", description="What rows are: `true class`.")
    of_columns: str = Field(default="", description="What columns are: `named`.")
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[float | None, ...], ...] = Field(description="Row by row; None: no number.")
    decimals: tuple[int, ...] = Field(default=(), description="Of each column's numbers; empty: they are counts.")
    shading: Literal["none", "matrix"] = Field(
        default="none",
        description="`matrix`: rows and columns are the same things. A cell is the darker the larger its share of its "
        "row is, and beside the diagonal it stands for mistakes.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if len(self.cells) != len(self.rows) or any(len(row) != len(self.columns) for row in self.cells):
            raise ValueError("a table needs a cell for each row and column")
        if self.decimals and len(self.decimals) != len(self.columns):
            raise ValueError("decimals are named for each column or not at all")
        return self


class ExhibitPicture(BaseModel):
    """A picture and what is said of it."""

    model_config = ConfigDict(frozen=True)

    image: str = Field(description="File name under the evaluation's `images/`.")
    title: str
    note: str = ""


class ExhibitText(BaseModel):
    """A text that was made from another one. Pages show it beside that of another step with the same id."""

    model_config = ConfigDict(frozen=True)

    id: str
    prompt: str = Field(default="", description="What it was made from.")
    expected: str = Field(default="", description="What it should have been; empty: not known.")
    text: str
    note: str = ""


class Exhibit(BaseModel):
    """A table, pictures, or texts, under one title."""

    model_config = ConfigDict(frozen=True)

    title: str
    note: str = Field(default="", description="How to read it, in a sentence.")
    table: ExhibitTable | None = None
    pictures: tuple[ExhibitPicture, ...] = ()
    texts: tuple[ExhibitText, ...] = Field(
        default=(), description="The same ids, in the same order, in every result of a run."
    )
