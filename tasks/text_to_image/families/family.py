"""What a family of base models is: everything that differs between one kind of model and another, in one file each.

A family holds no weights and is imported without torch: `run.py` asks it of files before anything is loaded. A loaded
model (`model.Model`) asks it to compute; those methods import what they compute with.

Shapes: B batch, C latent channels, H W height and width, L tokens, D embedding width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from shared.config.schema import ModelConfig
    from tasks.text_to_image.families.model import Conditioning, Model
    from tasks.text_to_image.objectives.objective import Objective


class Family(ABC):
    """One kind of base model."""

    name: ClassVar[str]
    """As presets and messages have it: `sdxl`."""
    title: ClassVar[str]
    """As people say it: `SDXL`."""
    pipeline_class: ClassVar[str]
    """diffusers' class, as `model_index.json` names it."""
    denoiser: ClassVar[str]
    """The part that learns, by the pipeline's name for it; the keys of its LoRA begin with it."""
    text_encoders: ClassVar[tuple[str, ...]]
    """By the pipeline's names for them."""
    pipeline_arguments: ClassVar[Mapping[str, Any]] = {}
    """What the pipeline is loaded with, beside precision and place."""
    normalizations: ClassVar[frozenset[str]]
    """Settings of a VAE that the pipeline undoes when it draws: `latents_mean`, `latents_std`, `shift_factor`."""
    architectures: ClassVar[Mapping[str, str]]
    """What is predicted to `modelspec.architecture`."""
    implementation: ClassVar[str] = "diffusers"
    """Whose names of modules `exported` writes, for `modelspec.implementation`."""
    fixed_layer: ClassVar[str | None] = None
    """Where the text encoders are read, in words, whatever `model.clip_skip` asks for; None: where it says."""

    text_window: ClassVar[int | None] = None
    """Tokens of a caption that are read at once; None: as many as the tokenizer has, but for a start and an end."""

    # What a model is, told from its files and from its parts.

    def is_described_by(self, denoiser: Mapping[str, Any]) -> bool:
        """Whether a model of this pipeline class, with this denoiser's configuration, is of this family."""
        return True

    @abstractmethod
    def size_multiple(self, model: Model) -> int:
        """Sides of a picture, in pixels, must be multiples of this."""

    # What is learnt.

    @abstractmethod
    def objective(
        self, pipeline: Any, file: Path | None, settings: ModelConfig, *, zero_terminal_snr: bool
    ) -> tuple[Objective, tuple[str, ...]]:
        """What this model learns, and what a person must know of how it was understood.

        file: where the model is a single one. zero_terminal_snr: the run's.

        Raises:
            ModelError: it is of a kind that cannot be trained.
        """

    def unread_layers(self, text_encoder: str, clip_skip: int) -> int:
        """How many of a text encoder's last layers nothing is read from: an adapter there would have no gradient."""
        return 0

    # One step of computing. Every method here runs where torch is.

    def scale_latents(self, model: Model, latents_BCHW: Tensor) -> Tensor:
        """From the VAE's units to those the denoiser learnt on."""
        config = model.pipeline.vae.config
        if config.get("latents_mean") is None:
            shift = config.get("shift_factor")
            return (latents_BCHW - shift if shift else latents_BCHW) * config.scaling_factor
        mean_1C11, std_1C11 = (
            latents_BCHW.new_tensor(values).view(1, -1, 1, 1) for values in (config.latents_mean, config.latents_std)
        )
        return (latents_BCHW - mean_1C11) * config.scaling_factor / std_1C11

    @abstractmethod
    def encode_captions(self, model: Model, captions: list[str]) -> Conditioning:
        """Text conditioning of these captions, on the text encoders' device; carries gradients where they have any."""

    def collate(self, texts: Sequence[Conditioning]) -> Conditioning:
        """The conditioning of single captions, each without a batch dimension, as that of a batch."""
        import torch

        return {name: torch.stack([text[name] for text in texts]) for name in texts[0]}

    @abstractmethod
    def predict(
        self, model: Model, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning
    ) -> Tensor:
        """One call of the denoiser, as the objective's target has it. timesteps: the objective's. (B, C, H, W)."""

    @abstractmethod
    def prompt_arguments(self, model: Model, prompts: list[str]) -> dict[str, Any]:
        """Embeddings of prompts, and of as many empty ones, as the pipeline's call takes them."""

    def guidance_arguments(self, scale: float) -> dict[str, Any]:
        """`evaluation.guidance_scale` as the pipeline's call takes it."""
        return {"guidance_scale": scale}

    # What a LoRA is called.

    @abstractmethod
    def header(self, predicted: str) -> dict[str, str]:
        """`modelspec.architecture`, and kohya's names of the base model. predicted: the objective's prediction type."""

    @abstractmethod
    def exported(self, weights: dict[str, Tensor], scales: dict[str, float]) -> dict[str, Tensor]:
        """A snapshot's weights as ComfyUI reads them. scales: of each module's update."""

    def lora_names(self, module: str) -> list[str]:
        """What other programs call a module, `unet.mid_block.…`, of which `lora.init_from` may hold a LoRA."""
        return [module]
