"""What all Stable Diffusions share: a UNet, a VAE of four channels, text encoders of CLIP's kind, DDPM.

Shapes: as in `family`; N passes of a text encoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from shared.models.noise_schedule import PredictionType
from tasks.text_to_image.families.family import Family

if TYPE_CHECKING:
    from torch import Tensor

    from shared.config.schema import ModelConfig
    from tasks.text_to_image.families.model import Model
    from tasks.text_to_image.objectives.objective import Objective


class UNetFamily(Family):
    """A Stable Diffusion."""

    denoiser = "unet"
    normalizations = frozenset()
    base_version: ClassVar[str]
    """What kohya calls it."""
    lora_prefixes: ClassVar[dict[str, str]]
    """What kohya's names of modules begin with, by part."""

    def size_multiple(self, model: Model) -> int:
        """The VAE's factor × the denoiser's: each level of its UNet but the last halves."""
        config: Any = model.denoiser.config
        return model.pixels_per_latent * 2 ** (len(config.block_out_channels) - 1)

    def objective(
        self, pipeline: Any, file: Path | None, settings: ModelConfig, *, zero_terminal_snr: bool
    ) -> tuple[Objective, tuple[str, ...]]:
        """DDPM, on the model's own betas."""
        from tasks.text_to_image.objectives import ddpm

        measured = self.measured_prediction(file) if file and not settings.single_file_config else None
        return ddpm.of_model(pipeline, file, settings, measured, zero_terminal_snr=zero_terminal_snr)

    def measured_prediction(self, file: Path) -> PredictionType | None:
        """What a single file predicts, told by its weights where it does not say; None: they do not tell."""
        return None

    def header(self, predicted: str) -> dict[str, str]:
        return {
            "modelspec.architecture": f"{self.architectures[predicted]}/lora",
            "ss_base_model_version": self.base_version,
            "ss_v2": "False",
        }

    def exported(self, weights: dict[str, Tensor], scales: dict[str, float]) -> dict[str, Tensor]:
        """Under kohya's names."""
        from tasks.text_to_image.lora import kohya

        return kohya.convert(weights, scales, lambda module: self.lora_names(module)[0])

    def lora_names(self, module: str) -> list[str]:
        """kohya's: the part's prefix, and diffusers' name with underscores."""
        part, _, own = module.partition(".")
        return [self.lora_prefixes[part] + own.replace(".", "_")]
