"""`best.json`: the verdict."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.run_folder.phrase import Phrase
from shared.run_folder.records.contest import Contest, VoteVerdict
from shared.run_folder.records.evaluation_result import Anchors
from shared.run_folder.records.interval import Interval
from shared.run_folder.records.record import Record
from shared.run_folder.records.strength import Strength
from shared.run_folder.times import utc_now


class Measured(BaseModel):
    """A number with its 95 % t-interval over prompts."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float


class Signal(BaseModel):
    """One sign of overfitting, with its evidence in words."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="`gap`, of the held-out loss, or what a metric calls its sign.")
    raised: bool | None = Field(description="None: cannot be told, the evidence says why.")
    evidence: str
    evidence_phrase: Phrase | None = Field(default=None, description="The same, to be said in other languages.")

    @classmethod
    def told(cls, name: str, raised: bool | None, evidence: Phrase) -> Signal:
        """With its evidence in English beside the phrase."""
        return cls(name=name, raised=raised, evidence=str(evidence), evidence_phrase=evidence)

    @property
    def said(self) -> Phrase | str:
        """The evidence, as another phrase holds it."""
        return self.evidence_phrase or self.evidence


class Advice(BaseModel):
    """What the stop rule says of going on."""

    model_config = ConfigDict(frozen=True)

    action: Literal["continue", "advise", "stop"]
    reason: str = ""
    reason_phrase: Phrase | None = Field(default=None, description="The same, to be said in other languages.")
    can_bring: float | None = Field(
        default=None,
        description="Upper bound of what the remaining steps can improve the composite by; None: cannot be told (yet).",
    )


class Confirmation(BaseModel):
    """The finalists evaluated again, with new seeds and on further prompts; their first evaluation counts as well."""

    model_config = ConfigDict(frozen=True)

    step: int = Field(description="The finalist to ship.")
    finalists: tuple[int, ...]
    agrees: bool = Field(description="True when the first evaluation chose the same.")
    better_than_base: bool
    composite: Interval | None = Field(description="Of both evaluations together; as wide as a choice among all needs.")
    num_prompts: int = Field(description="Behind the composite.")
    num_unseen: int | None = Field(
        default=None,
        description="How many of these had no part in the first evaluation. None: an older version evaluated this run; "
        "all of them, and its composite is of the second evaluation alone.",
    )
    num_pictures: int = Field(description="Drawn in the final, per finalist.")
    flagged: bool = Field(
        default=False,
        description="On all its pictures the chosen one fails a guard or shows a sign of overfitting, as every other "
        "finalist does.",
    )
    proven: tuple[int, ...] = Field(
        default=(),
        description="Finalists that may be shipped and are surely better than the base model by both evaluations, the "
        "best first.",
    )
    reason: str
    reason_phrases: tuple[Phrase, ...] = Field(default=(), description="The same, to be said in other languages.")


class Best(Record):
    """`best.json`: which snapshot to ship, and why, in words a person reads."""

    step: int
    snapshot: str = Field(description="Folder of the snapshot, relative to the run folder.")
    reason: str
    reason_phrases: tuple[Phrase, ...] = Field(
        default=(), description="The reason by sentences, to be said in other languages; empty: an older version's."
    )
    better_than_base: bool = Field(
        description="True only if the composite's interval against step 0 excludes zero: the confirmation's, where "
        "there is one. Where nothing is `ranked`: the interval of the votes' strength."
    )
    ranked: bool = Field(
        default=True,
        description="False: no metric that counts has a number. The step is then the one that votes prefer; without "
        "votes it is the last that may be shipped, and nothing says that it is the best.",
    )
    flagged: bool = Field(
        default=False,
        description="This snapshot fails a guard or shows a sign of overfitting. It is named only because every other "
        "one does, too, or every other finalist: none can be recommended.",
    )
    cautions: tuple[str, ...] = Field(
        default=(),
        description="What else a person should know before shipping it, in whole sentences with cures.",
    )
    caution_phrases: tuple[Phrase, ...] = Field(default=(), description="The same, to be said in other languages.")
    composite: Interval | None = Field(default=None, description="On the prompts that every snapshot is evaluated on.")
    metrics: dict[str, float | None] = Field(default_factory=dict)
    deltas: dict[str, Interval] = Field(default_factory=dict)
    num_evaluated: int
    passed_over: dict[int, str] = Field(
        default_factory=dict[int, str],
        description="Step → why this snapshot may not be shipped: a guard, a sign of overfitting.",
    )
    objections: dict[int, Phrase] = Field(
        default_factory=dict[int, Phrase], description="`passed_over`, to be said in other languages."
    )
    deleted: tuple[int, ...] = Field(
        default=(),
        description="Evaluated snapshots whose weights `train.snapshots_total_limit` has deleted: none is chosen.",
    )
    indistinguishable: tuple[int, ...] = Field(
        default=(),
        description="Snapshots that cannot be told from the best by their smoothed composites, itself included.",
    )
    proven: tuple[int, ...] = Field(
        default=(),
        description="Snapshots that may be shipped and are surely better than the base model, the best first: "
        "finalists by both evaluations. The best snapshot is not among them where its prompts disagree too much.",
    )
    not_counted: tuple[str, ...] = Field(
        default=(),
        description="Metrics that have no part in this verdict: snapshots were evaluated in two ways, or votes do not "
        "agree with it (yet).",
    )
    anchors: dict[str, Anchors] = Field(default_factory=dict, description="Loss → step 0, floor and ceiling.")
    skill: dict[str, Measured] = Field(
        default_factory=dict,
        description="Loss → where this snapshot stands: 0 is the floor, a real picture of another prompt; 1 is the "
        "ceiling, the most similar other real picture.",
    )
    signals: tuple[Signal, ...] = Field(default=(), description="Of overfitting, at this snapshot.")
    latest_step: int | None = Field(default=None, description="The newest snapshot evaluated.")
    latest_signals: tuple[Signal, ...] = Field(default=(), description="Of overfitting, at the newest snapshot.")
    advice: Advice | None = None
    finalists: tuple[int, ...] = Field(
        default=(), description="Snapshots to be evaluated again at the end; empty: none are."
    )
    confirmation: Confirmation | None = None
    votes: VoteVerdict | None = Field(default=None, description="What people preferred; None: nobody has voted.")
    contest: Contest | None = Field(
        default=None, description="What people are asked to vote on; the prior of the votes."
    )
    averages: tuple[int, ...] = Field(
        default=(),
        description="Averages of neighbouring snapshots to be evaluated before the final, by their numbers: a 1, then "
        "first and last step in seven digits each. `step`, `finalists` and the others may be such a number, too.",
    )
    strengths: tuple[float, ...] = Field(
        default=(),
        description="Strengths at which this snapshot is to be drawn, beside 1; empty before the end: another snapshot "
        "may still win.",
    )
    strength: Strength | None = Field(default=None, description="Which of them to use; None: not all are drawn.")
    created: str = Field(default_factory=utc_now)

    @property
    def surer(self) -> tuple[int, ...]:
        """Snapshots that are surely better than the base model while this one is not, the best first."""
        return () if self.better_than_base or self.flagged else self.proven

    @property
    def gist(self) -> tuple[int, float | None, bool, tuple[int, ...]]:
        """What a person takes from it; another one means another verdict."""
        delta = round(self.composite.delta, 3) if self.composite else None
        return self.step, delta, self.better_than_base, self.surer

    @property
    def is_chosen(self) -> bool:
        """Metrics or votes say that this step is the best; else it is only the last that may be shipped."""
        return self.ranked or self.votes is not None
