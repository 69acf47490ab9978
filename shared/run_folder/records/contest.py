"""The votes' parts of `best.json`: who competes, and what the votes say."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.run_folder.phrase import Phrase


class Contest(BaseModel):
    """The snapshots that people may compare, and what the metrics say of them: the prior of the votes."""

    model_config = ConfigDict(frozen=True)

    steps: tuple[int, ...] = Field(min_length=2, description="Ascending; 0 is the base model.")
    means: tuple[float, ...] = Field(
        description="By the composite, turned so that more is better; the base model's is 0."
    )
    covariance: tuple[tuple[float, ...], ...] = Field(description="Of these means, over prompts.")
    unit: float = Field(gt=0, description="A difference that matters, in the composite.")
    left_out: int = Field(
        default=0, description="Snapshots that may win as well and are not compared: people cannot compare so many."
    )

    @model_validator(mode="after")
    def _is_square(self) -> Self:
        sizes = {len(self.means), len(self.covariance), *map(len, self.covariance)}
        if sizes != {len(self.steps)} or list(self.steps) != sorted(set(self.steps)):
            raise ValueError("a contest needs a mean and a row of the covariance for each step, steps ascending")
        return self


class VotedStep(BaseModel):
    """One snapshot by votes and metrics together."""

    model_config = ConfigDict(frozen=True)

    step: int
    strength: float = Field(description="Over the base model, in units of the composite; more is better.")
    low: float = Field(description="Of its 95 % credible interval.")
    high: float
    chance: float = Field(description="Probability that it is the best of those that may be shipped; 0 for others.")
    won: int = Field(description="Votes that preferred it.")
    lost: int
    equal: int


class Agreement(BaseModel):
    """How often a metric preferred the same picture as the voter, with Jeffreys' 95 % interval."""

    model_config = ConfigDict(frozen=True)

    column: str = Field(description="`composite`, or a column of metrics.csv.")
    title: str = Field(description="Of the column, for people.")
    agreed: int
    num_votes: int = Field(description="That preferred a picture, where both have a number and the numbers differ.")
    share: float
    low: float
    high: float

    @property
    def is_above_chance(self) -> bool:
        """The whole interval is above one half."""
        return self.low > 0.5


class VoteVerdict(BaseModel):
    """What the votes say, and what they have changed."""

    model_config = ConfigDict(frozen=True)

    num_votes: int = Field(description="That compare two snapshots of the contest; skipped ones are not counted.")
    num_decided: int = Field(description="Of these, those that preferred one.")
    num_skipped: int
    voters: dict[str, int] = Field(description="Voter → votes.")
    steps: tuple[VotedStep, ...] = Field(description="Ascending.")
    favourite: int = Field(description="The most likely best of those that may be shipped.")
    before: int = Field(description="What the metrics alone choose; where `alone`, the last that may be shipped.")
    chance_over_before: float = Field(description="Probability that the favourite is better than that.")
    moved: bool = Field(description="The votes changed the choice.")
    alone: bool = Field(default=False, description="No metric ranks the snapshots: the votes alone choose.")
    agreement: tuple[Agreement, ...] = Field(default=(), description="Of the composite and of each compared metric.")
    reason: str
    reason_phrases: tuple[Phrase, ...] = Field(default=(), description="The same, to be said in other languages.")
    num_problems: int = Field(default=0, description="Lines of the votes' files that could not be counted.")
