"""`run.json`: what a run is."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.run_folder.phrase import Unit
from shared.run_folder.records.export_format import EARLIER_EXPORTS, ExportFormat
from shared.run_folder.records.record import Record
from shared.run_folder.times import Time, utc_now


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

    num_seen: int = Field(
        default=0,
        description="How many held-out ones look like pictures that were trained on; only references that are given "
        "to evaluate another program's LoRAs can.",
    )

    @property
    def kept_away(self) -> tuple[str, ...]:
        """Ids that are not trained on."""
        return (*self.held_out, *self.set_apart)


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


class Imported(BaseModel):
    """Where the snapshots of a run come from that another program trains."""

    model_config = ConfigDict(frozen=True)

    folder: str = Field(description="Where that program writes its files.")
    pattern: str = Field(default="*", description="Of the names of those that are taken.")
    trainer: str = Field(default="", description="The program, as far as its files tell.")
    unit: Unit = Field(default="step", description="What the numbers of the snapshots count.")
    copies: bool = Field(default=False, description="The files are copied; else snapshots link to them.")


class PresetRecord(BaseModel):
    """Which hardware preset the settings began as, and why that one."""

    model_config = ConfigDict(frozen=True)

    name: str
    reason: str = ""


class RunRecord(Record):
    """`run.json`: what this run is; written once, but for `changes` and what became known later: a hub id's commit,
    whose files are `imported`.
    """

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
    imported: Imported | None = Field(default=None, description="None: the snapshots are this run's own.")
    preset: PresetRecord | None = Field(default=None, description="None: the settings did not come from `init`.")
    exports: tuple[ExportFormat, ...] = Field(
        default=EARLIER_EXPORTS, description="Formats for other programs, as the run's task names them; may be empty."
    )
    tracker_names: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="Curve → what trackers call it, where the task has a name for it: `validation/held_out_loss` → "
        "`valid_loss`.",
    )
    memory: dict[str, Any] | None = Field(
        default=None, description="Peak estimated before the first step: MiB by place, program and component."
    )

    @property
    def unit(self) -> Unit:
        """What the numbers of its snapshots count."""
        return self.imported.unit if self.imported else "step"
