"""Stable Diffusion 1.x and 2.x: the same pipeline of diffusers; they differ in sizes and in the prediction type.

Shapes: as in `family`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.config.schema import POCKET
from tasks.text_to_image.families.unet import FILE_PARTS, UNetFamily
from tasks.text_to_image.models.noise_schedule import PredictionType
from tasks.text_to_image.models.presets import Size

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.text_to_image.families.model import Conditioning, Model

SD2_BIAS, SD2_V_SPREAD = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias", 0.09


class StableDiffusion1(UNetFamily):
    """Stable Diffusion 1.x."""

    name, title, base_version = "sd1", "SD 1.x", "sd_v1"
    header_name, hub_name = r"(stable-diffusion|sd)[-_]?v?1", r"(diffusion|sd)-?v?1"
    in_file, text_width = "cond_stage_model.transformer.", 768
    file_parts = {**FILE_PARTS, "cond_stage_model.": "text_encoder"}
    resolution = 512
    # GB         batch  checkpointing  rank  pictures drawn at once
    sizes = {
        8: Size(2, True, 16, 1),
        10: Size(2, False, 16, 2),
        12: Size(2, False, 16, 4),
        16: Size(4, False, 16, 8),
        24: Size(4, False, 32, 8),
        32: Size(4, False, 32, 16),
        40: Size(4, False, 32, 16),
        48: Size(4, False, 32, 16),
        80: Size(4, False, 32, 16),
    }
    on_cpu = Size(1, False, 8, 1, resolution=256)
    pipeline_class = "StableDiffusionPipeline"
    text_encoders = ("text_encoder",)
    pipeline_arguments = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    lora_prefixes = {"unet": "lora_unet_", "text_encoder": "lora_te_"}
    architectures = {"epsilon": "stable-diffusion-v1", "v_prediction": "stable-diffusion-v1"}

    def is_described_by(self, denoiser: Mapping[str, Any]) -> bool:
        """By the width of the text embeddings. A miniature has another width: then linear projections mean SD 2.x."""
        width, widths = denoiser.get("cross_attention_dim"), {StableDiffusion1.text_width, StableDiffusion2.text_width}
        if width in widths:
            return width == self.text_width
        return self.projects_linearly(denoiser) == self.projects_linearly(None)

    def unread_layers(self, text_encoder: str, clip_skip: int) -> int:
        return clip_skip - 1

    def encode_captions(self, model: Model, captions: list[str]) -> Conditioning:
        from tasks.text_to_image.families import clip_text

        output = clip_text.read(model, "text_encoder", captions, output_hidden_states=model.clip_skip > 1)
        states = output.last_hidden_state
        if model.clip_skip > 1:  # a layer's output is not normalised: apply the final norm, as CLIP's training did
            states = model.pipeline.text_encoder.final_layer_norm(output.hidden_states[-model.clip_skip])
        return {"encoder_hidden_states": clip_text.joined(model, states).to(model.pipeline.text_encoder.dtype)}

    def predict(
        self, model: Model, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning
    ) -> Tensor:
        hidden_states = conditioning["encoder_hidden_states"]
        return model.denoiser(noisy_latents_BCHW, timesteps_B, hidden_states, return_dict=False)[0]

    def prompt_arguments(self, model: Model, prompts: list[str], negative_prompts: list[str]) -> dict[str, Any]:
        encoded, negative = (self.encode_captions(model, texts) for texts in (prompts, negative_prompts))
        arguments = {
            "prompt_embeds": encoded["encoder_hidden_states"],
            "negative_prompt_embeds": negative["encoder_hidden_states"],
        }
        return {name: embeds.to(model.pipeline.device) for name, embeds in arguments.items()}


class StableDiffusion2(StableDiffusion1):
    """Stable Diffusion 2.x."""

    name, title, base_version = "sd2", "SD 2.x", "sd_v2"
    header_name, hub_name = r"(stable-diffusion|sd)[-_]?v?2", r"(diffusion|sd)-?v?2"
    in_file, text_width = "cond_stage_model.model.", 1024
    described = {**UNetFamily.described, "use_linear_projection": True}
    resolution = 768
    sizes = {
        8: Size(2, True, 16, 1, resolution=512),
        10: Size(2, True, 16, 2),
        12: Size(4, True, 16, 2),
        16: Size(2, False, 16, 2),
        24: Size(4, False, 32, 4),
        32: Size(4, False, 32, 8),
        40: Size(4, False, 32, 8),
        48: Size(4, False, 32, 16),
        80: Size(4, False, 32, 16),
    }
    architectures = {"epsilon": "stable-diffusion-v2-512", "v_prediction": "stable-diffusion-v2-768-v"}

    def measured_prediction(self, file: Path) -> PredictionType | None:
        """The prediction type of a file, from the spread of one of its biases.

        Files of SD 2.x rarely state it, and diffusers assumes v for all of them. The threshold is ComfyUI's: 512-base
        models, which predict noise, are below it.
        """
        from safetensors import safe_open

        with safe_open(file, framework="pt") as tensors:
            spread = tensors.get_tensor(SD2_BIAS).float().std(correction=0)
        return "v_prediction" if spread > SD2_V_SPREAD else "epsilon"

    def header(self, predicted: str) -> dict[str, str]:
        """kohya marks SD 2.x models that predict v with a suffix."""
        suffix = "_v" if predicted == "v_prediction" else ""
        return {**super().header(predicted), "ss_base_model_version": self.base_version + suffix, "ss_v2": "True"}


class Pocket(StableDiffusion1):
    """Presets of the embedded miniature; its files have the format of SD 1.x."""

    name, resolution = POCKET, 128
    folder = "stable-diffusion"
    sizes = {}
    on_cpu = Size(4, False, 16, 16)
