"""`[model]`: the base model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from shared.config.resume_rule import Rule
from shared.config.sections.base import Section

POCKET, POCKET_FLOW = "pocket", "pocket-flow"
"""The embedded miniature models; the second learns by flow matching."""


class ModelConfig(Section):
    """The base model that learns."""

    path: Annotated[str, Rule.STATE] = Field(
        default=POCKET,
        description="A diffusers folder, a hub id, a .safetensors file, or an embedded miniature model: `pocket`, or "
        "`pocket-flow`, which learns by flow matching.",
    )
    revision: Annotated[str | None, Rule.STATE] = Field(
        default=None,
        min_length=1,
        description="Branch, tag or commit of a hub id; the commit it stands for is kept in `run.json`, and a resumed "
        "run loads that one.",
    )
    variant: Annotated[str | None, Rule.STATE] = Field(
        default=None,
        pattern=r"^[\w-]+$",
        description="Variant of the weights, such as `fp16` (of `….fp16.safetensors`); when absent, plain weights, "
        "or where a part has none a variant that it has.",
    )
    vae: Annotated[str | None, Rule.STATE] = Field(
        default=None,
        min_length=1,
        description="A VAE in place of the model's own: a diffusers folder, a hub id (`owner/name` or "
        "`owner/name@revision`) or a .safetensors file.",
    )
    denoiser: Annotated[str | None, Rule.STATE] = Field(
        default=None,
        min_length=1,
        description='With train.what = "scratch": the architecture of the denoiser, a `config.json` of diffusers or a '
        "folder with one, on this disk; when absent, that of the base model's own.",
    )
    single_file_config: Annotated[str | None, Rule.STATE] = Field(
        default=None,
        description="Diffusers folder or hub id that describes the parts of a single file, and has those that the file "
        "lacks; guessed from the file, and fetched from the hub, when absent.",
    )
    training_adapter: Annotated[str | None, Rule.STATE] = Field(
        default=None,
        min_length=1,
        description="For a model that is distilled to draw in few steps: the file or folder, on this disk, of a LoRA "
        "that undoes the distillation, such as `ostris/FLUX.1-schnell-training-adapter` downloaded. It is added to the "
        "model for training and the held-out loss only: snapshots do not hold it, and pictures are drawn without it.",
    )
    mixed_precision: Annotated[Literal["auto", "no", "fp16", "bf16"], Rule.STEPS] = Field(
        default="auto",
        description="Precision of frozen weights and forward pass; `auto` is bf16 or fp16 on a GPU, `no` on CPU.",
    )
    quantization: Annotated[Literal["none", "fp8", "8bit", "4bit"], Rule.STATE] = Field(
        default="none",
        description="Smaller weights of the frozen denoiser during training: `fp8`, 8-bit floats, on any device, with "
        "train.gradient_checkpointing; `8bit` and `4bit`, bitsandbytes' integers and NF4, on CUDA, and for language "
        "models on a CPU too. Pictures are drawn with full weights.",
    )
    blocks_to_swap: Annotated[int, Rule.UPKEEP] = Field(
        default=0,
        ge=0,
        description="How many of the frozen denoiser's blocks wait in the machine's memory during training and come to "
        "the GPU one by one to compute: less GPU memory, longer steps, the same losses and snapshots. For transformers "
        "only; needs train.gradient_checkpointing.",
    )
    prediction_type: Annotated[Literal["auto", "epsilon", "v_prediction"], Rule.STATE] = Field(
        default="auto", description="What the model predicts; `auto` takes the word of the model's own files."
    )
    clip_skip: Annotated[int, Rule.STATE] = Field(
        default=1,
        ge=1,
        le=12,
        description="Layer of the text encoder that is read, counted from the last as in kohya's scripts and A1111: "
        "1 is the last, 2 the last but one. Families that always use the same layer refuse it.",
    )

    @model_validator(mode="after")
    def _an_adapter_is_added_to_whole_weights(self) -> ModelConfig:
        if self.training_adapter and self.quantization in ("8bit", "4bit"):
            raise ValueError(
                f"model.quantization is {self.quantization}, and model.training_adapter cannot be added to such "
                'weights: set model.quantization to "none" or "fp8"'
            )
        return self
