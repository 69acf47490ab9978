"""`result.json`: what was measured on one snapshot."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from shared.run_folder.records.exhibit import Exhibit, Figure
from shared.run_folder.records.record import Record
from shared.run_folder.times import Time, utc_now


class Lookalike(BaseModel):
    """A training picture that a sample resembles."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="Of the training pair.")
    image: str = Field(
        default="", description="File name under the evaluation's `lookalikes/`; empty: it could no longer be read."
    )


class Sample(BaseModel):
    """One thing that was evaluated, a generated picture as a rule, and its numbers."""

    model_config = ConfigDict(frozen=True)

    prompt_id: str = Field(
        description="Id of the held-out pair: its caption is the prompt, its picture the reference. Of a prompt of "
        "one's own, where it stands: `prompts.txt:3`."
    )
    prompt: str = Field(default="", description="The caption: samples with the same one are one unit of the intervals.")
    has_reference: bool = Field(
        default=True, description="There is a real picture to compare with. Without one, it is judged by other losses."
    )
    num_sources: int = Field(
        default=0, description="What the picture is made from: so many `references/<prompt_id>.source-1.png` …"
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="In which of the settings of `generation` this prompt differs from the others.",
    )
    seed: int = 0
    image: str = Field(default="", description="File name under the evaluation's `images/`; empty: no picture.")
    batch: int = Field(
        default=0, description="Which generation batch it was part of: pictures repeat bit for bit per batch."
    )
    metrics: dict[str, float | None] = Field(
        default_factory=dict, description="None: could not be computed, see `missing`."
    )
    lookalikes: dict[str, Lookalike] = Field(
        default_factory=dict, description="Column that points to a training picture → that picture."
    )


class Anchors(BaseModel):
    """Between what a loss moves for these references: the floor and the ceiling of its scale."""

    model_config = ConfigDict(frozen=True)

    step_0: float | None = Field(default=None, description="What the base model scores; None until it is evaluated.")
    shuffled: float = Field(description="What a real picture of another prompt scores: the floor.")
    real: float = Field(description="What the most similar other real picture scores: the ceiling.")


class EvaluationResult(Record):
    """`evaluations/step-N/result.json`: the truth about one snapshot."""

    run_id: str
    step: int = Field(ge=0)
    status: Literal["ok", "failed", "skipped"]
    reason: str = Field(default="", description="Why it failed or was left out; empty when ok.")
    lost: bool = Field(
        default=False,
        description="It failed because a file of the snapshot was missing, unreadable or another one: `Retries` lets "
        "it be tried again once the file is back.",
    )
    created: Time = Field(default_factory=utc_now)
    snapshot_digest: str = Field(default="", description="Digest of the snapshot evaluated; empty at step 0.")
    training: dict[str, Any] = Field(default_factory=dict, description="From the snapshot: epoch, loss, learning_rate.")
    generation: dict[str, Any] = Field(
        default_factory=dict, description="Precision, device, steps, guidance, scheduler …"
    )
    encoders: dict[str, Any] = Field(
        default_factory=dict, description="Per metric: model, revision and weights digest."
    )
    missing: dict[str, str] = Field(
        default_factory=dict,
        validation_alias=AliasChoices("missing", "blanks"),  # the name that earlier versions wrote
        description="Column → why it has no value in some row.",
    )
    seconds: dict[str, float] = Field(default_factory=dict, description="Wall time of swap, generate, score.")
    memory: dict[str, float] = Field(
        default_factory=dict,
        description="Held by the evaluator after drawing, MiB: process, and GPU if any.",
    )
    anchors: dict[str, Anchors] = Field(
        default_factory=dict, description="Loss → its floor and ceiling for the run's references; at step 0 only."
    )
    samples: tuple[Sample, ...] = ()
    probes: tuple[Sample, ...] = Field(
        default=(), description="Pictures of probe prompts, which count in no metric but those of probes."
    )
    figures: dict[str, Figure] = Field(
        default_factory=dict[str, Figure], description="Column that is no mean over samples → its number."
    )
    exhibits: tuple[Exhibit, ...] = Field(default=(), description="Tables and pictures that pages show as they are.")
