"""One line of `votes/<voter>.jsonl`: which of two pictures a person preferred, without knowing their steps."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from shared.run_folder.records.record import Record
from shared.run_folder.times import Time, utc_now

VoteAnswer = Literal["left", "equal", "right", "skipped", "withdrawn"]
"""`equal` is half a vote for each side. `skipped` says nothing. `withdrawn` takes back an earlier line of its id."""
MAX_VOTER_CHARACTERS = 40
VOTER = re.compile(r"\w(?:[\w-]*\w)?")


class Vote(Record):
    """Two pictures of one prompt and seed, drawn by two steps, and what a person said of them."""

    id: str = Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Of the pair as it was shown; a second one is ignored."
    )
    run_id: str
    voter: str = Field(description="A name that the person gave, or a random one that the browser keeps.")
    prompt_id: str
    seed: int
    left: int = Field(ge=0, description="Step that drew the picture on the left; 0 is the base model.")
    right: int = Field(ge=0)
    answer: VoteAnswer
    seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False, description="From the picture to the answer.")
    created: Time = Field(default_factory=utc_now)

    @field_validator("voter")
    @classmethod
    def _names_a_file(cls, voter: str) -> str:
        if not voter or voter != voter_id(voter):
            raise ValueError(f"{voter[:60]!r} is no id of a voter: letters, digits, - and _, at most 40")
        return voter

    @model_validator(mode="after")
    def _compares_two_steps(self) -> Self:
        if self.left == self.right:
            raise ValueError(f"both pictures are of step {self.left}")
        return self

    def to_line(self) -> bytes:
        """JSON in one line, with its end."""
        tree = self.model_dump(mode="json", by_alias=True)
        return (json.dumps(tree, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @property
    def says_something(self) -> bool:
        """Whether it compares the two steps."""
        return self.answer in ("left", "equal", "right")

    @property
    def preferred(self) -> int | None:
        """The step that was preferred; None without one."""
        return {"left": self.left, "right": self.right}.get(self.answer)

    @property
    def steps(self) -> tuple[int, int]:
        """Both, ascending."""
        return min(self.left, self.right), max(self.left, self.right)


def voter_id(name: str) -> str:
    """A name as the id of a voter and of their file: lower case, blanks are hyphens; empty if nothing is left."""
    words = re.findall(r"[\w-]+", unicodedata.normalize("NFC", name).lower())
    found = VOTER.search("-".join(words)[:MAX_VOTER_CHARACTERS])
    return found[0] if found else ""
