"""`sweep.json`: what a sweep has found, for whoever shows it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.run_folder.phrase import Phrase
from shared.run_folder.records.interval import Interval
from shared.run_folder.records.record import Record
from shared.run_folder.times import Time, utc_now

TrialState = Literal["waiting", "running", "done", "pruned", "failed"]


class TrialRecord(BaseModel):
    """One trial."""

    model_config = ConfigDict(frozen=True)

    number: int
    run: str = Field(description="Name of its run folder under `runs/`.")
    values: dict[str, Any] = Field(description="Setting → its value in this trial; a list or table as one line.")
    seed: int = Field(description="`train.seed`.")
    repeats: int | None = Field(default=None, description="The first trial of the same setting; None: it is the first.")
    state: TrialState
    reason: str = Field(default="", description="Why it was pruned, has failed or ended early.")
    step: int = 0
    total: int = 0
    best_step: int | None = None
    composite: Interval | None = Field(
        default=None,
        description="Of the best snapshot, to the base model of all trials; with a 95 % t-interval over prompts.",
    )
    flagged: bool = Field(default=False, description="No snapshot of it can be recommended.")
    by_step: dict[int, float] = Field(
        default_factory=dict[int, float], description="Step of each evaluated snapshot → its composite."
    )
    seconds: float | None = Field(default=None, description="From its start to its end, interruptions included.")


class SettingRecord(BaseModel):
    """Trials that differ by their seeds only."""

    model_config = ConfigDict(frozen=True)

    values: dict[str, Any]
    trials: tuple[int, ...] = Field(description="That are done, the first one first.")
    composite: float = Field(description="Mean over these trials; lower is better.")
    flagged: bool = False


class Noise(BaseModel):
    """How far trials of one setting differ by their seeds alone."""

    model_config = ConfigDict(frozen=True)

    deviation: float = Field(description="Standard deviation of the composite between seeds, pooled over settings.")
    num_settings: int = Field(description="With at least two seeds.")
    num_trials: int = Field(description="Of these settings.")
    margin: float | None = Field(
        default=None,
        description="How far winner and runner-up, with as many seeds as they have, may lie apart by their seeds alone "
        "(95 %); None: there are not two.",
    )


class SweepRecord(Record):
    """`sweep.json`: derived from the journal and the run folders, replaced whole."""

    name: str
    state: Literal["running", "stopped", "finished", "failed"]
    num_trials: int = Field(description="To be searched with, repeats of the best not counted.")
    num_repeats: int = 0
    space: dict[str, Any] = Field(description="Setting → choices, or low, high, log and step.")
    trials: tuple[TrialRecord, ...] = ()
    settings: tuple[SettingRecord, ...] = Field(default=(), description="That are done, the best first.")
    difference: Interval | None = Field(
        default=None,
        description="Composite of the winner minus the runner-up's, paired by prompts; below 0 is better. Its interval "
        "holds for all settings at once.",
    )
    sure: bool = Field(default=False, description="The interval of the difference excludes 0.")
    noise: Noise | None = None
    within_noise: bool | None = Field(
        default=None, description="The difference is no larger than seeds alone make; None: it cannot be told."
    )
    importance: dict[str, float] = Field(
        default_factory=dict[str, float],
        description="Setting → how much it decides whether a trial is among the best; sum 1. Empty: too few are done.",
    )
    sentences: tuple[Phrase, ...] = Field(default=(), description="All of it in words.")
    created: Time = Field(default_factory=utc_now)

    @property
    def winner(self) -> SettingRecord | None:
        """The best setting; None before any trial is done."""
        return self.settings[0] if self.settings else None
