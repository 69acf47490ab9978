"""`[evaluation]`: how snapshots are evaluated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.config.sections.base import Section


class EvaluationConfig(Section):
    """What every snapshot is asked to draw, and how it is evaluated."""

    num_prompts: int = Field(default=16, ge=2, description="Held-out captions drawn for every snapshot.")
    num_seeds: int = Field(default=2, ge=1, description="Pictures per prompt.")
    scheduler: Literal[
        "DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "EulerDiscreteScheduler", "DDIMScheduler", "own"
    ] = Field(
        default="DPMSolverMultistepScheduler",
        description="Sampler, as diffusers names it (the default is DPM-Solver++ 2M); `own` is the base model's.",
    )
    num_inference_steps: int = Field(default=20, ge=1, description="Denoising steps per picture.")
    guidance_scale: float = Field(default=7.0, ge=1, description="Classifier-free guidance.")
    batch_size: int = Field(
        default=8, ge=1, description="Pictures denoised at once; part of what makes pictures reproducible."
    )
    seed: int = Field(default=1234, ge=0, lt=2**31, description="First evaluation seed; the others follow it.")
    order: Literal["newest", "oldest"] = Field(
        default="newest", description="Which snapshot is evaluated first where several wait."
    )
    every: int = Field(
        default=1,
        ge=1,
        description="Evaluate every so many snapshots, and the last; the others are recorded as skipped.",
    )
    confirm_prompts: int = Field(
        default=16,
        ge=0,
        description="Further held-out captions, as far as there are, on which the three best snapshots are evaluated "
        "again at the end; 0: no confirmation.",
    )
    confirm_seeds: int = Field(default=4, ge=1, description="Pictures per prompt of the confirmation.")
    torch_compile: bool = Field(
        default=False,
        description="Compile the denoiser once for all snapshots; pays off after some hundred pictures of few shapes. "
        "Not with DoRA or adapters of the text encoders, which cannot be swapped in place.",
    )
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="Precision of generation; `auto` is fp16 on CUDA and MPS, fp32 on CPU."
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="`cpu`, `cuda`, `cuda:1`, `mps`; `auto` is a GPU that training leaves free, else the one it uses.",
    )
    visual: str = Field(
        default="gradients",
        description="Perceptual encoder: `gradients` (no weights needed), `dreamsim`, or a DINOv2 folder or hub id.",
    )
    fashion_clip: str = Field(
        default="patrickjohncyh/fashion-clip",
        description="Folder or hub id of a CLIP or SigLIP, or `pocket` for the embedded miniature CLIP.",
    )
    rescan_seconds: float = Field(
        default=5.0, gt=0, description="Seconds between two scans of the snapshot folder; events only hasten it."
    )
