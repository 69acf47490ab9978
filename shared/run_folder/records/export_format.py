"""Formats in which a snapshot can be had for other programs."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


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
