"""The JSON records of a run folder, one class each, written whole and read back validated.

Every record carries `schema`, "major.minor". Readers ignore fields they do not know (a newer minor) and refuse a newer
major with a cure. Times are UTC ISO-8601 strings; `step` counts optimizer updates, step 0 is the base model.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Hashable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from shared.errors import RunFolderError
from shared.files.regular import read_regular

SCHEMA_MAJOR = 1
RecordT = TypeVar("RecordT", bound="Record")


def utc_now() -> str:
    """The current time, such as `2026-01-31T12:00:00.123+00:00`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def parse_time(text: str) -> datetime:
    """The time a record holds, aware, in UTC."""
    return datetime.fromisoformat(text)


def _checked_time(text: str) -> str:
    try:
        time = parse_time(text)
        if time.tzinfo and time.astimezone(UTC):
            return text
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{text[:40]!r} is no time such as {utc_now()}")


Time = Annotated[str, AfterValidator(_checked_time)]
"""What `parse_time` reads."""


def seconds_since(text: str, now: datetime | None = None) -> float:
    """Age of a recorded time in seconds."""
    return ((now or datetime.now(UTC)) - parse_time(text)).total_seconds()


class Record(BaseModel):
    """A JSON file of the run folder."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    schema_version: str = Field(default=f"{SCHEMA_MAJOR}.0", alias="schema")

    def to_json(self) -> bytes:
        """UTF-8 JSON; a non-finite number raises ValueError: it has no place in a record."""
        tree = self.model_dump(mode="python", by_alias=True)
        return (json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n").encode()

    def write(self, path: Path) -> None:
        """Replace `path` whole: a reader sees the old record or this one."""
        replace_file(path, self.to_json())

    @classmethod
    def read(cls: type[RecordT], path: Path) -> RecordT:
        """The record at `path`.

        Raises:
            FileNotFoundError: there is none (yet).
            RunFolderError: it is damaged, or written by a newer major version.
        """
        text = read_regular(path)
        try:
            tree = _without_lone_surrogates(json.loads(text, parse_constant=_refuse_number), text)
            major = int(str(tree.get("schema", "1")).partition(".")[0])
        except (ValueError, AttributeError, RecursionError):
            raise RunFolderError(f"{path} is not a record of Darkroom", f"move {path} away: it is damaged") from None
        if major > SCHEMA_MAJOR:
            raise RunFolderError(
                f"{path} has schema {tree['schema']}, this version reads {SCHEMA_MAJOR}", "upgrade Darkroom"
            )
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise RunFolderError(f"{path} is damaged: {error.errors()[0]['msg']}", f"move {path} away") from None


def _refuse_number(name: str) -> None:
    """NaN and Infinity are no JSON; `to_json` writes none."""
    raise ValueError(name)


def _without_lone_surrogates(tree: Any, text: bytes) -> Any:
    """JSON can escape half a character, which no text may hold."""
    if b"\\ud" not in text.lower():
        return tree
    return json.loads(json.dumps(tree, ensure_ascii=False).encode("utf-8", errors="replace"))


def replace_file(path: Path, data: bytes) -> None:
    """Write beside `path`, fsync, rename over it."""
    staging = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with staging.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


class FileEntry(BaseModel):
    """One file of a published folder."""

    model_config = ConfigDict(frozen=True)

    name: str
    size: int = Field(description="Bytes.")
    sha256: str


class Manifest(Record):
    """`manifest.json` of a published folder: what is in it. Written last; its presence means the folder is whole."""

    kind: Literal["snapshot", "checkpoint", "evaluation", "references", "dataset"]
    run_id: str
    step: int = Field(ge=0)
    created: str = Field(default_factory=utc_now)
    details: dict[str, Any] = Field(default_factory=dict, description="Kind-specific facts: loss, epoch, rank …")
    files: tuple[FileEntry, ...] = ()

    def digest(self) -> str:
        """One sha256 for the whole folder: over names and digests of its files."""
        return combined_digest(f"{entry.name}:{entry.sha256}" for entry in self.files)


def combined_digest(parts: Iterable[str]) -> str:
    """sha256 over the sorted lines."""
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


class DatasetRecord(BaseModel):
    """Which pictures the run learns from, and which it never sees."""

    model_config = ConfigDict(frozen=True)

    path: str
    num_images: int
    num_regularization: int = Field(default=0, description="How many of these are pictures of the class.")
    fingerprint: str = Field(description="sha256 over every picture's and caption's digest.")
    pass_length: int = Field(
        default=0, description="Pictures of one pass, repeats and those of the class included; 0: an older run."
    )
    held_out: tuple[str, ...] = Field(description="Ids kept from training; evaluation prompts are taken in this order.")
    set_apart: tuple[str, ...] = Field(
        default=(), description="Ids that are not trained on either: each looks like a held-out one or is of its group."
    )

    @property
    def kept_away(self) -> tuple[str, ...]:
        """Ids that are not trained on."""
        return (*self.held_out, *self.set_apart)


class PairRecord(BaseModel):
    """A picture and its caption as the run began with them."""

    model_config = ConfigDict(frozen=True)

    id: str
    image: str = Field(description="sha256 of the picture's bytes.")
    caption: str = Field(description="With the trigger word.")
    repeats: int = 1
    is_regularization: bool = False
    mask: str = Field(default="", description="sha256 of the mask's file; empty without one.")

    @property
    def content(self) -> Hashable:
        """Everything but the name."""
        return self.image, self.caption, self.repeats, self.is_regularization, self.mask


class Inventory(Record):
    """`dataset.json`: the pairs a run was made of, one by one, so that a change can be named; written once."""

    pairs: tuple[PairRecord, ...]
    paths: dict[str, str] = Field(
        default_factory=dict,
        description="Id → where the picture lay: below the data set's folder, or its whole path; empty: an older run.",
    )


class Change(BaseModel):
    """A setting that was changed when the run was resumed."""

    model_config = ConfigDict(frozen=True)

    key: str
    before: Any
    after: Any
    step: int = Field(ge=0, description="Last step made with the value before.")
    created: str = Field(default_factory=utc_now)


class Origin(BaseModel):
    """The checkpoint a run began from instead of step 0."""

    model_config = ConfigDict(frozen=True)

    path: str
    run_id: str
    step: int = Field(ge=1, description="The first row of train.csv is the step after it.")
    digest: str = Field(description="Of the checkpoint's manifest.")


class InitialLora(BaseModel):
    """The LoRA file a run began from."""

    model_config = ConfigDict(frozen=True)

    path: str
    format: Literal["diffusers", "kohya", "peft"]
    sha256: str = Field(description="Of its content, the same wherever it lies.")


class PresetRecord(BaseModel):
    """Which hardware preset the settings began as, and why that one."""

    model_config = ConfigDict(frozen=True)

    name: str
    reason: str = ""


class ExportFormat(BaseModel):
    """A format in which a snapshot can be had for other programs."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="As `run.py export --format` takes it.")
    programs: str = Field(description="Who reads it, for people: `ComfyUI, A1111, Forge`.")
    file: str = Field(
        default="", description="The snapshot's file that has this format already; empty: `run.py export` converts."
    )
    ending: str = Field(
        default="",
        pattern=r"^[\w.-]*$",
        description="Of a converted file's name, after the format: `-fp16.safetensors`.",
    )


EARLIER_EXPORTS = (
    ExportFormat(name="diffusers", programs="diffusers", file="pytorch_lora_weights.safetensors"),
    ExportFormat(name="kohya", programs="ComfyUI, A1111, Forge", ending="-fp16.safetensors"),
    ExportFormat(name="peft", programs="PEFT", ending="-fp16.zip"),
)
"""The formats of runs whose record, by an earlier version, does not name them."""


class RunRecord(Record):
    """`run.json`: what this run is; written once, but for `changes`, and a hub id's commit that became known later."""

    run_id: str
    name: str
    created: Time = Field(default_factory=utc_now)
    seed: int
    versions: dict[str, str]
    hardware: dict[str, Any]
    dataset: DatasetRecord
    base_model: dict[str, str] = Field(
        description="`path`; `fingerprint` where it is a local folder or file; `commit` of a hub id; with `model.vae` "
        "also `vae_fingerprint` or `vae_commit`."
    )
    folders: dict[str, str] = Field(
        default_factory=dict,
        description="Setting → fingerprint of the local folder it names, beside data set and base model.",
    )
    origin: Origin | None = None
    init_from: InitialLora | None = None
    changes: tuple[Change, ...] = Field(default=(), description="Settings changed since, oldest first.")
    preset: PresetRecord | None = Field(default=None, description="None: the settings did not come from `init`.")
    exports: tuple[ExportFormat, ...] = Field(
        default=EARLIER_EXPORTS, description="Formats for other programs, as the run's task names them; may be empty."
    )
    memory: dict[str, Any] | None = Field(
        default=None, description="Peak estimated before the first step: MiB by place, program and component."
    )


Role = Literal["supervisor", "trainer", "evaluator", "dashboard", "tracker"]
State = Literal[
    "starting",
    "preparing",
    "training",
    "paused",
    "evaluating",
    "idle",
    "draining",
    "saving",
    "serving",
    "stopped",
    "finished",
    "failed",
]
FINAL_STATES = frozenset({"stopped", "finished", "failed"})


class ProcessStatus(Record):
    """`processes/<role>.json`: who runs, how far, and when it last said so."""

    role: Role
    run_id: str
    pid: int = Field(ge=0)
    host: str
    process_started: float = Field(description="Start time of the process, epoch seconds: with the pid, its identity.")
    started: Time
    state: State
    step: int = Field(default=0, description="Trainer: optimizer updates done. Evaluator: snapshot at work.")
    total: int = Field(default=0, description="Trainer: max_train_steps. Evaluator: snapshots known.")
    progress: int = Field(
        default=0, description="Counter that grows with every piece of work done: a hang shows as no growth."
    )
    heartbeat: Time
    message: str = ""
    notices: tuple[str, ...] = Field(
        default=(), description="What a person must know of this session: what was lost, skipped or done otherwise."
    )


RequestKind = Literal["stop", "snapshot-now", "pause", "resume", "evaluate"]


class Request(Record):
    """`control/<id>.json`: something a person or a program asks of the trainer; `evaluate` of the evaluators."""

    id: str
    kind: RequestKind
    run_id: str
    created: Time = Field(default_factory=utc_now)
    by: str = Field(description="dashboard, command line, signal SIGTERM …; the reason shown to people.")
    step: int | None = Field(default=None, ge=0, description="Of `evaluate`: the snapshot; 0 is the base model.")
    prompts: tuple[str, ...] = Field(
        default=(), description="Of `evaluate`: what to draw beside the run's own prompts, into `requested/<id>`."
    )


class Answer(Record):
    """`control/<id>.answer.json`: how far a request has come; None means not yet."""

    request_id: str
    seen: Time | None = None
    saved: Time | None = None
    stopped: Time | None = None
    done: Time | None = None
    step: int | None = None
    ignored: str | None = Field(default=None, description="Why the request had no effect.")


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

    prompt_id: str = Field(description="Id of the held-out pair: its caption is the prompt, its picture the reference.")
    prompt: str = Field(default="", description="The caption: samples with the same one are one unit of the intervals.")
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


class Interval(BaseModel):
    """A paired difference to step 0 with its 95 % t-interval over prompts."""

    model_config = ConfigDict(frozen=True)

    delta: float
    low: float
    high: float


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


class Advice(BaseModel):
    """What the stop rule says of going on."""

    model_config = ConfigDict(frozen=True)

    action: Literal["continue", "advise", "stop"]
    reason: str = ""
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
    reason: str


class Best(Record):
    """`best.json`: which snapshot to ship, and why, in words a person reads."""

    step: int
    snapshot: str = Field(description="Folder of the snapshot, relative to the run folder.")
    reason: str
    better_than_base: bool = Field(
        description="True only if the composite's interval against step 0 excludes zero: the confirmation's, where "
        "there is one."
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
    composite: Interval | None = Field(default=None, description="On the prompts that every snapshot is evaluated on.")
    metrics: dict[str, float | None] = Field(default_factory=dict)
    deltas: dict[str, Interval] = Field(default_factory=dict)
    num_evaluated: int
    passed_over: dict[int, str] = Field(
        default_factory=dict[int, str],
        description="Step → why this snapshot may not be shipped: a guard, a sign of overfitting.",
    )
    indistinguishable: tuple[int, ...] = Field(
        default=(),
        description="Snapshots that cannot be told from the best by their smoothed composites, itself included.",
    )
    not_counted: tuple[str, ...] = Field(
        default=(),
        description="Metrics that have no part in this verdict, because snapshots were evaluated in two ways.",
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
    created: str = Field(default_factory=utc_now)
