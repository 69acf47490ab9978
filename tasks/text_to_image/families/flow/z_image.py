"""Z-Image: a transformer of one stream that learns by flow matching; captions are lists of different lengths.

Its time runs from noise to picture, and what it predicts points there: both are turned around here. Its text encoder,
Qwen3, has two thirds of the transformer's size and is loaded only while something is to be encoded.

Shapes: as in `family`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ModelError
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.models.pipeline_folder import read_json
from tasks.text_to_image.models.presets import Size
from tasks.text_to_image.models.weights_header import Tensors, TensorShape

if TYPE_CHECKING:
    from torch import Tensor

    from shared.config.schema import EvaluationConfig, ModelConfig
    from tasks.text_to_image.families.model import Conditioning, Model
    from tasks.text_to_image.models.lora_file import Module
    from tasks.text_to_image.models.memory import ModelShapes
    from tasks.text_to_image.objectives.objective import Objective

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = ("feed_forward.w1", "feed_forward.w2", "feed_forward.w3")
MODULATION = ("adaLN_modulation.0",)
SCHEDULER = "FlowMatchEulerDiscreteScheduler"
MAX_TOKENS, TEMPLATE_TOKENS = 512, 8
"""Of a prompt in the chat template of Qwen3, and of the template alone."""
PATCH = 2
"""Latents along one side of a token."""
TRAINING_BYTES = {True: (2, 88), False: (68, 149)}
"""Checkpointing → bytes per token and channel in bf16: of each block, and once. Measured by fake runs of the true
blocks: benchmarks/flow_activations_fake_202611.md."""
DRAWING_BYTES = 32
"""Likewise without gradients, once."""
DISTILLED = re.compile("turbo", re.IGNORECASE)
FILE_PREFIX = "model.diffusion_model."
FIRST_MODULATION = "layers.0.adaLN_modulation.0.weight"
SCALES = re.compile(r".*(scale_weight|weight_scale|scaled_fp8|comfy_quant)")
"""Tensors beside weights in 8 bits, which diffusers does not apply."""
FILE_NAMES = (
    (re.compile(r"^x_embedder\."), "all_x_embedder.2-1."),
    (re.compile(r"^final_layer\."), "all_final_layer.2-1."),
    (re.compile(r"\.attention\.out\."), ".attention.to_out.0."),
    (re.compile(r"\.attention\.([qk])_norm\."), r".attention.norm_\1."),
)
"""The authors' names of modules in single files, and diffusers'."""


class ZImage(Family):
    """Z-Image and Z-Image-Turbo."""

    name, title = "z-image", "Z-Image"
    kind = "flow"
    pipeline_class = "ZImagePipeline"
    denoiser, text_encoders = "transformer", ("text_encoder",)
    encoders_stay = False
    file_parts = {FILE_PREFIX: denoiser}
    completed_by = "Tongyi-MAI/Z-Image"
    normalizations = frozenset({"shift_factor"})
    architectures = {"flow": "Z-Image"}
    implementation = "https://github.com/Tongyi-MAI/Z-Image"
    header_name = hub_name = r"z[-_]?image"
    fixed_layer = "its last layer but one"
    text_window = MAX_TOKENS - TEMPLATE_TOKENS
    overflows_in_fp16 = True
    presets = {
        "attention": ATTENTION,
        "transformer": (*ATTENTION, *FEED_FORWARD),
        "all": (*ATTENTION, *FEED_FORWARD, *MODULATION),
        "all-linear": (*ATTENTION, *FEED_FORWARD, *MODULATION),
    }
    exclude_modules = r"all_final_layer\..*"  # its adaLN_modulation.0 is no matrix
    samplers = ("own",)
    described = {"dim": 3840, "n_layers": 30, "n_refiner_layers": 2, "all_patch_size": (PATCH,), "in_channels": 16}
    resolution = 1024
    # GB         batch  checkpointing  rank  pictures drawn at once
    sizes = {
        8: Size(1, True, 16, 0, "4bit"),
        10: Size(1, True, 16, 0, "4bit"),
        12: Size(1, True, 16, 0, "8bit"),
        16: Size(1, True, 16, 0, "8bit"),
        24: Size(1, True, 16, 1, "4bit"),
        40: Size(1, True, 32, 1),
        80: Size(4, True, 32, 4),
    }
    on_cpu = Size(1, True, 8, 1, resolution=512)

    def drawing_settings(self, model: str) -> Mapping[str, tuple[Any, str]]:
        if DISTILLED.search(Path(model).name):
            return {
                "evaluation.num_inference_steps": (8, "the distilled model's own number"),
                "evaluation.guidance_scale": (1.0, "the distilled model draws without guidance"),
            }
        return {
            "evaluation.num_inference_steps": (28, "its authors recommend 28 to 50"),
            "evaluation.guidance_scale": (5.0, "its authors recommend 3 to 5, counted from 0: 4 to 6 here"),
        }

    def caution(self, model: str, settings: EvaluationConfig) -> str | None:
        if not DISTILLED.search(Path(model).name):
            return None
        text = (
            f"{Path(model).name} is distilled to draw in 8 steps without guidance, and training undoes this little by "
            f"little: train {self.completed_by} and draw with the distilled model (evaluation.model), or train for few "
            "steps"
        )
        if settings.model is None and settings.guidance_scale != 1:
            text += f"; evaluation.guidance_scale is {settings.guidance_scale:g}, and should be 1 for this model"
        return text

    def recognises_file(self, tensors: Tensors, file: Path) -> bool:
        names = {name.removeprefix(FILE_PREFIX) for name in tensors}
        if FIRST_MODULATION not in names:
            return False
        if any(map(SCALES.fullmatch, names)):
            raise ModelError(
                f"{file} holds weights in 8 bits with scales of their own, which cannot be trained",
                "choose the file in bf16; model.quantization makes a diffusers folder smaller while it is trained",
            )
        return True

    def tensors_of_file(self, tensors: Tensors) -> dict[str, Tensors]:
        """Under diffusers' names; queries, keys and values are one matrix in the authors' files."""
        found: Tensors = {}
        for name, tensor in tensors.items():
            own = name.removeprefix(FILE_PREFIX)
            for pattern, replacement in FILE_NAMES:
                own = pattern.sub(replacement, own)
            if own.endswith(".attention.qkv.weight"):
                part = TensorShape((tensor.shape[0] // 3, *tensor.shape[1:]), tensor.dtype)
                found |= {own.replace(".qkv.", f".to_{letter}."): part for letter in "qkv"}
            else:
                found[own] = tensor
        return {self.denoiser: found}

    def recognises_lora(self, modules: Mapping[str, Module]) -> bool:
        return any(re.match(rf"{self.denoiser}\.(layers|\w+_refiner)\.\d+\.attention\.", name) for name in modules)

    def require_trainable(self, folder: Path) -> None:
        scheduler = read_json(folder / "scheduler" / "scheduler_config.json").get("_class_name")
        if scheduler != SCHEDULER:
            raise ModelError(
                f"{folder} has the noise schedule of {scheduler}, which cannot be trained",
                f"choose a model with a {SCHEDULER}, as {self.completed_by}",
            )

    def size_multiple(self, denoiser: Mapping[str, Any], vae: Mapping[str, Any]) -> int:
        return 2 ** (len(vae["block_out_channels"]) - 1) * denoiser["all_patch_size"][0]

    def size_multiple_of_file(self, tensors: Tensors) -> int | None:
        """All of them use one VAE, of factor 8."""
        return 8 * PATCH

    def activation_bytes(
        self, model: ModelShapes, batch: int, resolution: int, *, half: bool, checkpointing: bool
    ) -> float:
        of_block, once = TRAINING_BYTES[checkpointing]
        kept = of_block * model.denoiser["n_layers"] + once
        return batch * _tokens(model, resolution) * model.denoiser["dim"] * kept * (1 if half else 2)

    def denoising_bytes(self, model: ModelShapes, resolution: int) -> float:
        return _tokens(model, resolution) * model.denoiser["dim"] * DRAWING_BYTES

    def objective(
        self, pipeline: Any, file: Path | None, settings: ModelConfig, *, zero_terminal_snr: bool
    ) -> tuple[Objective, tuple[str, ...]]:
        """Flow matching; σ as musubi-tuner's guide for Z-Image draws it: logit-normal, shifted by 2."""
        from tasks.text_to_image.objectives.flow_matching import FlowMatching, Usual

        if pipeline.vae.config.get("shift_factor") is None:  # the pipeline adds it to latents, whatever it is
            pipeline.vae.register_to_config(shift_factor=0.0)
        return FlowMatching(pipeline.scheduler.config, Usual("logit_normal", 2.0), PATCH), ()

    def encode_captions(self, model: Model, captions: list[str]) -> Conditioning:
        """Padded with zeros to the longest: `lengths` (B,) says how much of `hidden_states` (B, L, D) is text.

        Encoded as the pipeline does, in the chat template and padded for the encoder, so that the states are the same.
        """
        import torch

        encoder, tokenizer = model.pipeline.text_encoder, model.pipeline.tokenizer
        prompts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": caption}],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=True,
            )
            for caption in captions
        ]
        tokens = tokenizer(
            prompts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
        ).to(encoder.device)
        used_BL = tokens.attention_mask.bool()
        states_BLD = encoder(
            input_ids=tokens.input_ids, attention_mask=used_BL, output_hidden_states=True
        ).hidden_states[-2]
        states = [states_LD[used_L] for states_LD, used_L in zip(states_BLD, used_BL, strict=True)]
        return {
            "hidden_states": torch.nn.utils.rnn.pad_sequence(states, batch_first=True),
            "lengths": used_BL.sum(dim=1),
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
        import torch

        frames = [*noisy_latents_BCHW.unsqueeze(2).unbind()]
        predicted = model.denoiser(frames, 1 - timesteps_B, _listed(conditioning), return_dict=False)[0]
        return -torch.stack([*predicted]).squeeze(2)

    def prompt_arguments(self, model: Model, prompts: list[str], negative_prompts: list[str]) -> dict[str, Any]:
        arguments = {"prompt_embeds": prompts, "negative_prompt_embeds": negative_prompts}
        return {
            name: [states.to(model.device) for states in _listed(model.encode_captions(texts))]
            for name, texts in arguments.items()
        }

    def guidance_arguments(self, scale: float) -> dict[str, Any]:
        """Its pipeline counts from 0: 0 is no guidance."""
        return {"guidance_scale": scale - 1}

    def header(self, predicted: str) -> dict[str, str]:
        return {"modelspec.architecture": f"{self.architectures[predicted]}/lora", "ss_base_model_version": "zimage"}

    def exported(self, weights: dict[str, Tensor], scales: dict[str, float]) -> dict[str, Tensor]:
        """diffusers' names, which ComfyUI maps too, at scale 1: the scale is multiplied into B."""
        found = dict(weights)
        for module, scale in scales.items():
            found[f"{module}.lora_B.weight"] = weights[f"{module}.lora_B.weight"] * scale
        return found


def _tokens(model: ModelShapes, resolution: int) -> float:
    """Of a square picture and the longest caption."""
    return (resolution / model.vae_factor / PATCH) ** 2 + MAX_TOKENS


def _listed(conditioning: Conditioning) -> list[Tensor]:
    """Each caption's states, without their padding."""
    pairs = zip(conditioning["hidden_states"], conditioning["lengths"].tolist(), strict=True)
    return [states[: int(length)] for states, length in pairs]
