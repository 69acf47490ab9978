"""A family of base models: everything that differs between one kind of model and another, in one file each.

A family holds no weights and is imported without torch: `run.py` uses it to recognise files before anything is loaded.
A loaded model (`model.Model`) calls its computing methods, which import torch and diffusers themselves.

Shapes: B batch, C latent channels, H W height and width, L tokens, D embedding width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from shared.config import targets
from shared.data import buckets
from tasks.text_to_image.models.presets import Size
from tasks.text_to_image.models.weights_header import Tensors
from tasks.text_to_image.objectives.own_settings import Kind

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from shared.config.schema import DataConfig, EvaluationConfig, ModelConfig
    from tasks.text_to_image.families.model import Conditioning, Model
    from tasks.text_to_image.models.lora_file import Module
    from tasks.text_to_image.models.memory import ModelShapes
    from tasks.text_to_image.objectives.objective import Objective


COMFYUI_PREFIX = "diffusion_model."
"""Before the denoiser's modules in LoRA files that are made for ComfyUI."""


class Family(ABC):
    """One kind of base model."""

    name: ClassVar[str]
    """The name in presets and messages: `sdxl`."""
    title: ClassVar[str]
    """The name for people: `SDXL`."""
    kind: ClassVar[Kind]
    """The kind of its objective."""
    pipeline_class: ClassVar[str]
    """The class of diffusers in `model_index.json`."""
    denoiser_class: ClassVar[str]
    """The class of diffusers in the denoiser's configuration."""
    denoiser: ClassVar[str]
    """The pipeline's name of the denoiser; the keys of its LoRA begin with it."""
    text_encoders: ClassVar[tuple[str, ...]]
    """The pipeline's names of the text encoders."""
    encoders_stay: ClassVar[bool] = True
    """Whether the text encoders stay loaded; else they are loaded while something is to be encoded, and never learn."""
    file_parts: ClassVar[Mapping[str, str]] = {}
    """Key prefix in a single file → part; empty: the family is loaded from folders only."""
    file_ends: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """End of a module's name in the denoiser → its ends in a single file, where they differ."""
    file_has_own_names: ClassVar[bool] = False
    """Whether a single file names the denoiser's weights as a folder does, after the prefix if there is one."""
    completed_by: ClassVar[str | None] = None
    """A hub id that has the parts that this family's single files lack; None: they hold all parts."""
    hub_name: ClassVar[str]
    """A regular expression for hub ids, in lower case; used before the model is downloaded."""
    header_name: ClassVar[str]
    """A regular expression for the start of this family's names in file headers, in lower case."""
    optional_parts: ClassVar[frozenset[str]] = frozenset()
    """Parts without which the pipeline works."""
    pipeline_arguments: ClassVar[Mapping[str, Any]] = {}
    """Arguments for loading the pipeline, besides precision and location."""
    normalizations: ClassVar[frozenset[str]]
    """VAE settings that the pipeline reverses when it draws: `latents_mean`, `latents_std`, `shift_factor`."""
    architectures: ClassVar[Mapping[str, str]]
    """Prediction type → `modelspec.architecture`."""
    implementation: ClassVar[str] = "diffusers"
    """`modelspec.implementation`: the program whose module names `exported` writes."""
    fixed_layer: ClassVar[str | None] = None
    """The text encoders' layer that is used whatever `model.clip_skip` is, in words; None: `clip_skip` decides."""

    text_window: ClassVar[int | None] = None
    """Tokens of a caption that are encoded, in one pass, by a tokenizer of the family's own; None: the text encoders
    are CLIPs, which take the tokenizer's maximum per pass."""
    window_tokenizer: ClassVar[str] = "tokenizer"
    """The pipeline's name of the tokenizer that `text_window` counts in; without it only the CLIPs read a caption."""
    same_vocabulary: ClassVar[tuple[str, ...]] = ()
    """Hub ids whose tokenizer counts as this family's: one of them may be on this machine where the model's is not."""
    embeds_guidance: ClassVar[bool] = False
    """Whether the denoiser takes the guidance scale as an input: `train.guidance_scale` while it trains."""
    most_sources: ClassVar[int | None] = 0
    """Sources of a picture that it takes at most, see `data.sources`; None: any number."""
    needs_sources: ClassVar[bool] = False
    """Whether it is made to edit pictures, and learns from pairs with sources only."""
    reads_sources: ClassVar[bool] = False
    """Whether its text encoder looks at the sources beside the caption."""
    draws_from_text: ClassVar[bool] = True
    """Whether it can draw a prompt that has no source."""
    draws_several: ClassVar[bool] = True
    """Whether its pipeline draws several pictures at once."""
    uses_negative_prompts: ClassVar[bool] = True
    """Whether `prompt_arguments` can make use of them."""
    overflows_in_fp16: ClassVar[bool] = False
    """Whether the denoiser computes no finite numbers in fp16."""

    lora_prefixes: ClassVar[Mapping[str, str]] = {}
    """Part → prefix of kohya's module names."""

    # Settings.

    presets: ClassVar[Mapping[str, tuple[str, ...]]] = targets.PRESETS
    """Preset of `lora.target_modules` → ends of module names."""
    swaps_blocks: ClassVar[bool] = True
    """Whether the denoiser is a chain of blocks that can wait in the host's memory: `model.blocks_to_swap`."""
    samplers: ClassVar[Collection[str] | None] = None
    """Values of `evaluation.scheduler` that can sample with models of this family; None: all."""
    resolution: ClassVar[int]
    """Side of the pictures it was trained on, in pixels."""
    sizes: ClassVar[Mapping[int, Size]]
    """Nominal GB of a card → settings that fit on it: `presets`."""
    on_cpu: ClassVar[Size]

    def drawing_settings(self, model: str) -> Mapping[str, tuple[Any, str]]:
        """Settings of a model of this name where the defaults do not suit it: key → value and reason."""
        return {}

    def caution(self, model: str, settings: EvaluationConfig, training_adapter: str | None = None) -> str | None:
        """What the user must know before a model of this name is trained; None: nothing."""
        return None

    def loaded_apart(self, folder: Path) -> dict[str, Any]:
        """Parts that are not loaded as diffusers would load them, by the pipeline's names. folder: of the pipeline."""
        return {}

    def needed_at_once(self, folder: Path) -> dict[str, Any]:
        """Likewise, where the pipeline cannot be made without them."""
        return {}

    @property
    def tokenizers(self) -> tuple[str, ...]:
        """The pipeline's names of what makes tokens of captions."""
        return tuple(name.replace("text_encoder", "tokenizer") for name in self.text_encoders)

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders of a pipeline."""
        return (self.denoiser, "vae", *self.text_encoders, *self.tokenizers, "scheduler")

    @property
    def weighted_parts(self) -> tuple[str, ...]:
        """The parts that have weights."""
        return (self.denoiser, "vae", *self.text_encoders)

    def absent(self, folder: Path) -> dict[str, None]:
        """The optional parts that a folder lacks, as arguments for loading it."""
        return {part: None for part in self.parts if part in self.optional_parts and not (folder / part).is_dir()}

    # Recognition: the kind of a model, from its files and its parts.

    def is_described_by(self, denoiser: Mapping[str, Any]) -> bool:
        """Whether a model of this pipeline class with this denoiser's configuration belongs to this family."""
        return True

    def recognises_file(self, tensors: Tensors, file: Path) -> bool:
        """Whether the keys of a single file are those of this family.

        Raises:
            ModelError: they are, but models of this kind cannot be trained.
        """
        return False

    def tensors_of_file(self, tensors: Tensors) -> dict[str, Tensors]:
        """The tensors of each part that a single file holds, from its header."""
        parts: dict[str, Tensors] = {}
        for name, tensor in tensors.items():
            for prefix, part in self.file_parts.items():
                if name.startswith(prefix):
                    parts.setdefault(part, {})[name] = tensor
        return parts

    def recognises_lora(self, modules: Mapping[str, Module]) -> bool:
        """Whether the modules of a LoRA show that it is for this family."""
        return False

    def own_modules(self, modules: Mapping[str, Module]) -> dict[str, Module] | None:
        """The modules of a LoRA file under our names, if it has this family's under others; None: it has not."""
        return None

    def renamed_modules(self, modules: Mapping[str, Module]) -> dict[str, Module] | None:
        """The same for a file that is said to be this family's; None: it has our names, or none that is known."""
        return None

    def takes_loras_of(self, other: Family) -> bool:
        """Whether LoRAs for models of the other family fit models of this one: the same modules in the same shapes."""
        return self.name == other.name

    @abstractmethod
    def require_trainable(self, folder: Path) -> None:
        """Check the noise schedule in a folder's configuration files.

        Raises:
            ModelError: models of this kind cannot be trained.
        """

    def stated(self, files: Path) -> str | None:
        """What a folder or file states about its prediction type, as a phrase; None: nothing."""
        return None

    def vae_channels(self, vae: Mapping[str, Any]) -> tuple[int, ...]:
        """Channels of each level of the VAE, the finest first. vae: its configuration."""
        return tuple(vae["block_out_channels"])

    @abstractmethod
    def size_multiple(self, denoiser: Mapping[str, Any], vae: Mapping[str, Any]) -> int:
        """The sides of a picture, in pixels, must be multiples of this. denoiser, vae: their configurations."""

    def size_multiple_of_file(self, tensors: Tensors) -> int | None:
        """The same for a single file without a configuration; None: its keys do not show it."""
        return None

    def source_sizes(self, data: DataConfig, multiple: int) -> list[buckets.Size]:
        """The buckets for sources: sizes that the pipeline leaves as they are. multiple: the model's size multiple.

        Raises:
            ConfigError: the resolution does not suit the model.
        """
        return buckets.sizes(data.resolution, multiple, square=not data.buckets)

    def native_resolution(self, model: ModelShapes) -> int:
        """The side of the pictures a model was trained on, in pixels."""
        return self.resolution

    # Memory, before anything is loaded: bytes beyond weights, adapter and optimizer.

    described: ClassVar[Mapping[str, Any]] = {}
    """The denoiser's configuration for single files, which have none."""
    encoding_bytes: ClassVar[float] = 10
    decoding_bytes: ClassVar[float] = 12
    """Of the VAE at work, per pixel and channel of its first level in half precision: benchmarks/vae_activations.py."""
    decodes_in_fp32: ClassVar[bool] = False
    """Whether the VAE overflows in fp16, so that the pipeline decodes in fp32."""

    @abstractmethod
    def activation_bytes(
        self, model: ModelShapes, batch: int, resolution: int, *, half: bool, checkpointing: bool
    ) -> float:
        """The peak of a forward and backward pass, without weights and the adapter's gradients."""

    def offloaded_bytes(self, model: ModelShapes, batch: int, resolution: int, *, half: bool) -> float:
        """What of it waits in the host's memory with `train.gradient_checkpointing = "offload"`."""
        return 0.0

    @abstractmethod
    def denoising_bytes(self, model: ModelShapes, resolution: int) -> float:
        """The memory of the denoiser while it draws one picture without guidance, in half precision."""

    def tokens(self, model: ModelShapes, resolution: int) -> float | None:
        """How many tokens the denoiser computes for a square picture and the longest caption; None: a UNet has none."""
        return None

    def targets(self, names: Collection[str], *, linear_projections: bool = True) -> tuple[str, ...]:
        """Name endings of the denoiser's modules that get an adapter.

        names: from the config, in which presets are replaced by the names of Stable Diffusion's modules.
        linear_projections: whether transformer blocks project with linear layers instead of convolutions.
        """
        return targets.resolve(targets.translated(names, self.presets), linear_projections=linear_projections)

    def exclude_modules(self, denoiser: Mapping[str, Any]) -> str | None:
        """A regular expression for the names of modules that never get an adapter, such as those without a gradient.

        denoiser: its configuration.
        """
        return None

    def projects_linearly(self, denoiser: Mapping[str, Any] | None) -> bool:
        """Whether this denoiser's transformer blocks project with linear layers. None: that of a single file."""
        return True

    # Training.

    @abstractmethod
    def objective(
        self, pipeline: Any, file: Path | None, settings: ModelConfig, *, zero_terminal_snr: bool
    ) -> tuple[Objective, tuple[str, ...]]:
        """The objective of this model, and sentences about it that the user must know.

        file: the model's file, if it is a single one. zero_terminal_snr: the run's setting.

        Raises:
            ModelError: models of this kind cannot be trained.
        """

    def unread_layers(self, text_encoder: str, clip_skip: int) -> int:
        """The number of a text encoder's last layers that are not used: an adapter there would have no gradient."""
        return 0

    # Computing. These methods may use torch.

    def posterior(self, vae: Any, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of what the VAE makes of pictures in -1…1, in its own units. (B, C, H, W)."""
        found = vae.encode(pixels_BCHW).latent_dist
        return found.mean, found.std

    def scale_latents(self, model: Model, latents_BCHW: Tensor) -> Tensor:
        """From the VAE's units to the units in which the denoiser was trained."""
        config = model.pipeline.vae.config
        factor = config.get("scaling_factor", 1.0)
        if config.get("latents_mean") is None:
            shift = config.get("shift_factor")
            return (latents_BCHW - shift if shift else latents_BCHW) * factor
        mean_1C11, std_1C11 = (
            latents_BCHW.new_tensor(values).view(1, -1, 1, 1) for values in (config.latents_mean, config.latents_std)
        )
        return (latents_BCHW - mean_1C11) * factor / std_1C11

    @abstractmethod
    def encode_captions(self, model: Model, captions: list[str]) -> Conditioning:
        """Text conditioning of these captions, on the text encoders' device; with gradients if they are trained."""

    def encode_instructions(
        self, model: Model, captions: list[str], sources: Sequence[Sequence[Image.Image]]
    ) -> Conditioning:
        """Likewise of captions that are read beside their sources, where `reads_sources`."""
        return self.encode_captions(model, captions)

    def collate(self, texts: Sequence[Conditioning]) -> Conditioning:
        """Combine the conditioning of single captions, each without a batch dimension, into that of a batch."""
        import torch

        return {name: torch.stack([text[name] for text in texts]) for name in texts[0]}

    @abstractmethod
    def predict(
        self, model: Model, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning
    ) -> Tensor:
        """The denoiser's output, in the units of the objective's target. timesteps: the objective's. (B, C, H, W)."""

    @abstractmethod
    def prompt_arguments(self, model: Model, prompts: list[str], negative_prompts: list[str]) -> dict[str, Any]:
        """Embeddings of prompts and of as many negative prompts, as arguments of the pipeline's call."""

    def instruction_arguments(
        self, model: Model, prompts: list[str], negative_prompts: list[str], sources: Sequence[Sequence[Image.Image]]
    ) -> dict[str, Any]:
        """Likewise of prompts that are read beside their sources, where `reads_sources`."""
        return self.prompt_arguments(model, prompts, negative_prompts)

    def guidance_arguments(self, scale: float) -> dict[str, Any]:
        """`evaluation.guidance_scale` as an argument of the pipeline's call."""
        return {"guidance_scale": scale}

    def source_arguments(self, sources: Sequence[Image.Image], size: buckets.Size) -> dict[str, Any]:
        """Sources of one prompt as arguments of the pipeline's call, which draws it any number of times.

        sources: in sizes of `source_sizes`; empty: the prompt has none. size: of the pictures that are drawn.
        """
        return {}

    # Names in LoRA files.

    @abstractmethod
    def header(self, predicted: str) -> dict[str, str]:
        """`modelspec.architecture` and kohya's names of the base model. predicted: the objective's prediction type."""

    @abstractmethod
    def exported(self, weights: dict[str, Tensor], scales: dict[str, float]) -> dict[str, Tensor]:
        """A snapshot's weights with the names that ComfyUI reads. scales: the factor of each module's update."""

    def lora_names(self, module: str) -> list[str]:
        """Other programs' names of a module `unet.mid_block.…`, under which `lora.init_from` may store it."""
        return [module]
