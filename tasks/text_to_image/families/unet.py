"""What all Stable Diffusion models share: a UNet, a VAE of four channels, CLIP text encoders, DDPM.

Shapes: as in `family`; N passes of a text encoder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from shared.config import targets
from shared.errors import ModelError
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.models import noise_schedule
from tasks.text_to_image.models.noise_schedule import NoiseSchedule, PredictionType
from tasks.text_to_image.models.weights_header import Tensors, TensorShape

if TYPE_CHECKING:
    from torch import Tensor

    from shared.config.schema import ModelConfig
    from tasks.text_to_image.models.lora_file import Module
    from tasks.text_to_image.models.memory import ModelShapes
    from tasks.text_to_image.objectives.objective import Objective

FIRST_CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"
INPAINTING_CHANNELS = 9
WHOLE = "choose a text-to-image checkpoint with UNet, VAE and text encoder in one file"
HALVINGS = (
    re.compile(r"model\.diffusion_model\.input_blocks\.\d+\.0\.op\.weight"),
    re.compile(r"first_stage_model\.encoder\.down\.\d+\.downsample\.conv\.weight"),
)
"""The layers of a single file that halve a picture's sides."""
TEXT_READER = re.compile(r"(?:unet\.|lora_unet_).*attn2[._]to_[kv]")
TRAINING_BYTES = {
    (True, False): (51.06, 51.47, 0.0),
    (True, True): (5.21, -4.66, 188.26),
    (False, False): (64.75, 78.09, 0.0),
    (False, True): (20.45, -10.24, 224.96),
}
"""(Half precision, checkpointing) → bytes per number of `unet_work`. With checkpointing nearly all of the memory is for
the widest level, which is recomputed as a whole; the other two constants are corrections without a meaning. Fitted to
fake runs of the true architectures: benchmarks/reports/activations_fake_202611.md, which gives the error."""
DENOISING_BYTES = 52.0
"""Bytes per number of the widest level, fp16, without gradients: for SD 1.x and 2.x; SDXL needs 38."""
SAME_VOCABULARY = (
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "stabilityai/stable-diffusion-2",
    "stabilityai/stable-diffusion-xl-base-1.0",
    "openai/clip-vit-large-patch14",
    "patrickjohncyh/fashion-clip",
)
"""Where loading a single file, or another part of Darkroom, leaves CLIP's tokenizer in the hub's cache."""
FILE_PARTS = {"model.diffusion_model.": "unet", "first_stage_model.": "vae"}


class UNetFamily(Family):
    """A Stable Diffusion model."""

    kind = "ddpm"
    denoiser, denoiser_class = "unet", "UNet2DConditionModel"
    file_ends = targets.SINGLE_FILE_ENDS
    same_vocabulary = SAME_VOCABULARY
    normalizations = frozenset()
    swaps_blocks = False
    text_width: ClassVar[int]
    """Width of the text embeddings that the UNet takes."""
    base_version: ClassVar[str]
    """kohya's name of the base model."""
    described = {"block_out_channels": (320, 640, 1280, 1280)}
    in_file: ClassVar[str]
    """A key prefix that only single files of this family have."""

    def recognises_file(self, tensors: Tensors, file: Path) -> bool:
        is_own = any(name.startswith(self.in_file) for name in tensors)
        if not is_own and FIRST_CONVOLUTION not in tensors:
            return False  # what the header of another kind of model says is not read
        noise_schedule.of_file(file, tensors)
        if tensors.get(FIRST_CONVOLUTION, TensorShape((0, 0), "")).shape[1] == INPAINTING_CHANNELS:
            raise ModelError(f"{file} is an in-painting model", WHOLE)
        return is_own

    def recognises_lora(self, modules: Mapping[str, Module]) -> bool:
        """By the width of the text embeddings that the UNet takes."""
        return {m.shape[1] for name, m in modules.items() if TEXT_READER.fullmatch(name)} == {self.text_width}

    def require_trainable(self, folder: Path) -> None:
        noise_schedule.of_folder(folder)

    def stated(self, files: Path) -> str | None:
        stated = noise_schedule.of_file(files) if files.is_file() else noise_schedule.of_folder(files)
        if not stated.prediction_type:
            return None
        return str(NoiseSchedule.of(stated.prediction_type, stated.zero_terminal_snr))

    def size_multiple(self, denoiser: Mapping[str, Any], vae: Mapping[str, Any]) -> int:
        """The VAE's factor times the denoiser's: each level but the last halves the sides."""
        return 2 ** sum(len(config["block_out_channels"]) - 1 for config in (denoiser, vae))

    def size_multiple_of_file(self, tensors: Tensors) -> int | None:
        return 2 ** sum(any(pattern.fullmatch(name) for pattern in HALVINGS) for name in tensors)

    def native_resolution(self, model: ModelShapes) -> int:
        """From the UNet's configuration, if it has the value."""
        size = model.denoiser.get("sample_size")
        return (size if isinstance(size, int) else min(size)) * model.vae_factor if size else self.resolution

    def projects_linearly(self, denoiser: Mapping[str, Any] | None) -> bool:
        return bool((self.described if denoiser is None else denoiser).get("use_linear_projection"))

    def activation_bytes(
        self, model: ModelShapes, batch: int, resolution: int, *, half: bool, checkpointing: bool
    ) -> float:
        work = unet_work(model.denoiser, (resolution / model.vae_factor) ** 2)
        constants = TRAINING_BYTES[half, checkpointing]
        return batch * sum(constant * value for constant, value in zip(constants, work, strict=True))

    def denoising_bytes(self, model: ModelShapes, resolution: int) -> float:
        return DENOISING_BYTES * unet_work(model.denoiser, (resolution / model.vae_factor) ** 2)[2]

    def objective(
        self, pipeline: Any, file: Path | None, settings: ModelConfig, *, zero_terminal_snr: bool
    ) -> tuple[Objective, tuple[str, ...]]:
        """DDPM with the model's own betas."""
        from tasks.text_to_image.objectives import ddpm

        measured = self.measured_prediction(file) if file and not settings.single_file_config else None
        return ddpm.of_model(pipeline, file, settings, measured, zero_terminal_snr=zero_terminal_snr)

    def measured_prediction(self, file: Path) -> PredictionType | None:
        """The prediction type of a single file, from its weights; None: they do not show it."""
        return None

    def header(self, predicted: str) -> dict[str, str]:
        return {
            "modelspec.architecture": f"{self.architectures[predicted]}/lora",
            "ss_base_model_version": self.base_version,
            "ss_v2": "False",
        }

    def exported(self, weights: dict[str, Tensor], scales: dict[str, float]) -> dict[str, Tensor]:
        """With kohya's names."""
        from tasks.text_to_image.lora import kohya

        return kohya.convert(weights, scales, lambda module: self.lora_names(module)[0])

    def lora_names(self, module: str) -> list[str]:
        """kohya's name: the part's prefix, and diffusers' name with underscores."""
        part, _, rest = module.partition(".")
        return [self.lora_prefixes[part] + rest.replace(".", "_")]


def unet_work(unet: Mapping[str, Any], latent_pixels: float) -> tuple[float, float, float]:
    """Three sizes to which a UNet's activations for one picture are proportional (latent pixels × channels).

    Returns: the sum over its residual blocks, the sum over its transformer layers, and the widest level.
    """
    channels = tuple(unet["block_out_channels"])
    levels = len(channels)
    resnets = _per_level(unet.get("layers_per_block", 2), levels)
    depths = _per_level(unet.get("transformer_layers_per_block", 1), levels)
    down = unet.get("down_block_types", ("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",))
    up = list(unet.get("up_block_types", ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1)))[::-1]
    sizes = [latent_pixels / 4**level * width for level, width in enumerate(channels)]
    resnet_work = transformer_work = 0.0
    for size, count, depth, down_type, up_type in zip(sizes, resnets, depths, down, up, strict=True):
        resnet_work += size * (2 * count + 1)  # the upward path has one more block
        transformer_work += size * depth * (count * ("CrossAttn" in down_type) + (count + 1) * ("CrossAttn" in up_type))
    return resnet_work + 2 * sizes[-1], transformer_work + depths[-1] * sizes[-1], max(sizes)


def _per_level(value: int | Iterable[int], levels: int) -> list[int]:
    return [value] * levels if isinstance(value, int) else list(value)
