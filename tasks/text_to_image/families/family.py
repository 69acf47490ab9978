"""What a family of base models is: everything that differs between one kind of model and another, in one file each.

A family holds no weights and is imported without torch: `run.py` asks it of files before anything is loaded. A loaded
model (`model.Model`) asks it to compute; those methods import what they compute with.

Shapes: B batch, C latent channels, H W height and width, L tokens, D embedding width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from shared.config import targets
from tasks.text_to_image.models.presets import Size
from tasks.text_to_image.models.weights_header import Tensors

if TYPE_CHECKING:
    from torch import Tensor

    from shared.config.schema import ModelConfig
    from tasks.text_to_image.families.model import Conditioning, Model
    from tasks.text_to_image.models.lora_file import Module
    from tasks.text_to_image.models.memory import ModelShapes
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
    file_parts: ClassVar[Mapping[str, str]] = {}
    """How keys of a single file begin, to the part they are of; empty: only folders are known."""
    hub_name: ClassVar[str]
    """A regular expression that the name of a hub id matches, in lower case; for advice before anything is here."""
    header_name: ClassVar[str]
    """A regular expression that the names begin with by which headers call this family, in lower case."""
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

    lora_prefixes: ClassVar[Mapping[str, str]] = {}
    """How kohya's names of modules begin, by part."""

    # Settings.

    presets: ClassVar[Mapping[str, tuple[str, ...]]] = targets.PRESETS
    """What `lora.target_modules` names, to the ends of modules' names."""
    exclude_modules: ClassVar[str | None] = None
    """A regular expression of the denoiser's modules that never get an adapter, as one without a gradient."""
    samplers: ClassVar[Collection[str] | None] = None
    """Values of `evaluation.scheduler` that draw what it has learnt; None: all."""
    resolution: ClassVar[int]
    """Sides of the pictures it was trained on, in pixels."""
    sizes: ClassVar[Mapping[int, Size]]
    """Nominal GB of a card to what fits on it: `presets`."""
    on_cpu: ClassVar[Size]

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders that a pipeline is made of."""
        tokenizers = tuple(name.replace("text_encoder", "tokenizer") for name in self.text_encoders)
        return (self.denoiser, "vae", *self.text_encoders, *tokenizers, "scheduler")

    @property
    def weighted_parts(self) -> tuple[str, ...]:
        """Those that have weights."""
        return (self.denoiser, "vae", *self.text_encoders)

    # What a model is, told from its files and from its parts.

    def is_described_by(self, denoiser: Mapping[str, Any]) -> bool:
        """Whether a model of this pipeline class, with this denoiser's configuration, is of this family."""
        return True

    def recognises_file(self, tensors: Tensors, file: Path) -> bool:
        """Whether a single file is of this family, by its keys.

        Raises:
            ModelError: it is, but of a kind that cannot be trained.
        """
        return False

    def recognises_lora(self, modules: Mapping[str, Module]) -> bool:
        """Whether a LoRA is for this family, by its modules; False: they do not tell."""
        return False

    @abstractmethod
    def require_trainable(self, folder: Path) -> None:
        """What a folder's configuration files tell of its noise schedule.

        Raises:
            ModelError: it is of a kind that cannot be trained.
        """

    def stated(self, files: Path) -> str | None:
        """What a folder's or a file's own words are on what it predicts, in a phrase; None: nothing."""
        return None

    @abstractmethod
    def size_multiple(self, denoiser: Mapping[str, Any], vae: Mapping[str, Any]) -> int:
        """Sides of a picture, in pixels, must be multiples of this. Of the two configurations."""

    def size_multiple_of_file(self, tensors: Tensors) -> int | None:
        """The same of a single file that nobody describes; None: its keys do not tell."""
        return None

    def native_resolution(self, model: ModelShapes) -> int:
        """The side of the pictures a model was trained on, in pixels."""
        return self.resolution

    # Memory, before anything is loaded: bytes beyond weights, adapter and optimizer.

    described: ClassVar[Mapping[str, Any]] = {}
    """The denoiser's configuration, for single files, which do not say it."""
    decodes_in_fp32: ClassVar[bool] = False
    """Whether the VAE overflows in fp16, so that the pipeline decodes in fp32."""

    @abstractmethod
    def activation_bytes(
        self, model: ModelShapes, batch: int, resolution: int, *, half: bool, checkpointing: bool
    ) -> float:
        """What a forward and backward pass holds at its peak, weights and the adapter's gradients apart."""

    @abstractmethod
    def denoising_bytes(self, model: ModelShapes, resolution: int) -> float:
        """What the denoiser holds while one picture is drawn without guidance, in half precision."""

    def targets(self, names: Collection[str], *, linear_projections: bool = True) -> tuple[str, ...]:
        """The ends of names of the denoiser's modules that get an adapter.

        names: as the config has them, where presets stand spelled out as Stable Diffusion means them.
        linear_projections: whether transformer blocks project by linear layers instead of convolutions.
        """
        return targets.resolve(targets.translated(names, self.presets), linear_projections=linear_projections)

    def projects_linearly(self, denoiser: Mapping[str, Any] | None) -> bool:
        """Whether this denoiser's transformer blocks project by linear layers. None: a single file's."""
        return True

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
