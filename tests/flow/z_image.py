"""Z-Image as a family: a transformer on flow matching, whose captions are lists of different lengths.

A prototype, as the tests need it: sizes and memory are guesses. Shapes: as in `family`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ModelError
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.models.pipeline_folder import read_json
from tasks.text_to_image.models.presets import CARDS, Size

if TYPE_CHECKING:
    from torch import Tensor

    from shared.config.schema import ModelConfig
    from tasks.text_to_image.families.model import Conditioning, Model
    from tasks.text_to_image.models.memory import ModelShapes
    from tasks.text_to_image.objectives.objective import Objective

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = ("feed_forward.w1", "feed_forward.w2", "feed_forward.w3")


class ZImage(Family):
    name, title = "z-image", "Z-Image"
    kind = "flow"
    pipeline_class = "ZImagePipeline"
    denoiser, text_encoders = "transformer", ("text_encoder",)
    normalizations = frozenset({"shift_factor"})
    architectures = {"flow": "z-image"}
    header_name = hub_name = r"z[-_]?image"
    fixed_layer = "their last layer but one"
    text_window = 512
    presets = {
        "attention": ATTENTION,
        "transformer": (*ATTENTION, *FEED_FORWARD),
        "all": (*ATTENTION, *FEED_FORWARD),
        "all-linear": (*ATTENTION, *FEED_FORWARD),
    }
    samplers = ("own",)
    resolution = 1024
    sizes = {gigabytes: Size(1, True, 16, 0 if gigabytes < 40 else 1) for gigabytes in CARDS}
    on_cpu = Size(1, True, 8, 1, resolution=512)

    def require_trainable(self, folder: Path) -> None:
        scheduler = read_json(folder / "scheduler" / "scheduler_config.json").get("_class_name")
        if scheduler != "FlowMatchEulerDiscreteScheduler":
            raise ModelError(f"{folder} has the noise schedule of {scheduler}, which cannot be trained", "")

    def size_multiple(self, denoiser: Mapping[str, Any], vae: Mapping[str, Any]) -> int:
        return 2 ** (len(vae["block_out_channels"]) - 1) * denoiser["all_patch_size"][0]

    def activation_bytes(
        self, model: ModelShapes, batch: int, resolution: int, *, half: bool, checkpointing: bool
    ) -> float:
        """With checkpointing, whatever is asked for: within 10 % at 1024 pixels."""
        tokens = (resolution / model.vae_factor / 2) ** 2 + 512
        width, blocks = model.denoiser["dim"], model.denoiser["n_layers"]
        return batch * tokens * width * (2 * blocks + 82) * (1 if half else 2)

    def denoising_bytes(self, model: ModelShapes, resolution: int) -> float:
        return ((resolution / model.vae_factor / 2) ** 2 + 512) * model.denoiser["dim"] * 82

    def objective(
        self, pipeline: Any, file: Path | None, settings: ModelConfig, *, zero_terminal_snr: bool
    ) -> tuple[Objective, tuple[str, ...]]:
        from tasks.text_to_image.objectives.flow_matching import FlowMatching, Usual

        return FlowMatching(pipeline.scheduler.config, Usual("logit_normal", 2.0)), ()

    def encode_captions(self, model: Model, captions: list[str]) -> Conditioning:
        """Padded with zeros to the longest: `lengths` (B,) says how much of `hidden_states` (B, L, D) is text."""
        import torch

        encoder: Any = model.text_encoders["text_encoder"]
        tokenizer = model.tokenizers["text_encoder"]
        states: list[Tensor] = []
        for caption in captions:
            ids_1L = tokenizer([caption], truncation=True, max_length=self.text_window, return_tensors="pt").input_ids
            states.append(encoder(ids_1L.to(encoder.device), output_hidden_states=True).hidden_states[-2][0])
        return {
            "hidden_states": torch.nn.utils.rnn.pad_sequence(states, batch_first=True),
            "lengths": torch.tensor([len(state) for state in states], device=encoder.device),
        }

    def collate(self, texts: Sequence[Conditioning]) -> Conditioning:
        import torch

        states = [text["hidden_states"] for text in texts]
        return {
            "hidden_states": torch.nn.utils.rnn.pad_sequence(states, batch_first=True),
            "lengths": torch.stack([text["lengths"] for text in texts]),
        }

    def predict(
        self, model: Model, noisy_latents_BCHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning
    ) -> Tensor:
        """The transformer's time runs the other way, and so does what it predicts."""
        import torch

        frames = [*noisy_latents_BCHW.unsqueeze(2).unbind()]
        predicted = model.denoiser(frames, 1 - timesteps_B, _listed(conditioning), return_dict=False)[0]
        return -torch.stack([*predicted]).squeeze(2)

    def prompt_arguments(self, model: Model, prompts: list[str], negative_prompts: list[str]) -> dict[str, Any]:
        arguments = {"prompt_embeds": prompts, "negative_prompt_embeds": negative_prompts}
        return {name: _listed(self.encode_captions(model, texts)) for name, texts in arguments.items()}

    def guidance_arguments(self, scale: float) -> dict[str, Any]:
        """Its pipeline counts from 0 where others count from 1."""
        return {"guidance_scale": scale - 1}

    def header(self, predicted: str) -> dict[str, str]:
        return {"modelspec.architecture": f"{self.architectures[predicted]}/lora", "ss_base_model_version": "zimage"}

    def exported(self, weights: dict[str, Tensor], scales: dict[str, float]) -> dict[str, Tensor]:
        """ComfyUI maps diffusers' names and assumes scale 1: the scale goes into B."""
        found = dict(weights)
        for module, scale in scales.items():
            found[f"{module}.lora_B.weight"] = weights[f"{module}.lora_B.weight"] * scale
        return found


def _listed(conditioning: Conditioning) -> list[Tensor]:
    """Each caption's states, without their padding."""
    pairs = zip(conditioning["hidden_states"], conditioning["lengths"].tolist(), strict=True)
    return [states[: int(length)] for states, length in pairs]
