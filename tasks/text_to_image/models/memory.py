"""How much memory a run will hold at its worst moment, told from shapes before anything is loaded.

Weights, adapter and optimizer are counted from the headers of the model's files. Activations are estimated from the
denoiser's architecture, with constants fitted to fake runs of the true architectures:
benchmarks/activations_fake_202611.md, which names the error. Everything here is arithmetic; what is free, and what to
do about it, is `tasks.text_to_image.models.precheck`'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from shared.config import targets
from shared.config.schema import POCKET, Config, LoraConfig
from shared.models import base_model
from shared.models.weights_header import Tensors, read_components

GIB = 2**30
BYTES = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0}
QUANTISED_BYTES = {"8bit": 1.0, "4bit": 0.5 + 4 / 64}  # NF4 keeps one fp32 scale for 64 weights (Dettmers et al. 2023)
OPTIMIZER_BYTES = {"adamw": 8, "adamw8bit": 2, "prodigy": 16, "adafactor": 0, "sgd": 0}
"""Per trained parameter, beside its fp32 value and gradient; a class not listed counts as AdamW."""
CLIP_BYTES = 0.6 * GIB
"""FashionCLIP (ViT-B/32) in fp32: 151 million weights."""

TRAINING_BYTES = {
    (True, False): (51.06, 51.47, 0.0),
    (True, True): (5.21, -4.66, 188.26),
    (False, False): (64.75, 78.09, 0.0),
    (False, True): (20.45, -10.24, 224.96),
}
"""(Half precision, checkpointing) to bytes per number of `unet_work`. With checkpointing the widest level, recomputed
whole, is nearly all of it; the other two correct it and have no meaning of their own."""
DENOISING_BYTES = 52.0
"""Per number of the widest level, fp16, without gradients: SD 1.x's and 2.x's; SDXL needs 38."""
DECODING_BYTES, ENCODING_BYTES = 12.0, 10.0
"""Per pixel and channel of the VAE's first level, fp16."""
CUDA_CONTEXT_BYTES = 0.5 * GIB
"""Kernels and handles of one process on a device: assumed, between 0.3 and 0.6 GiB by driver and card."""
PROCESS_BYTES = 0.5 * GIB
"""Python with everything a program imports, resident: 440 to 460 MiB measured."""

UNETS: dict[str, dict[str, Any]] = {
    "sd1": {"block_out_channels": (320, 640, 1280, 1280)},
    "sd2": {"block_out_channels": (320, 640, 1280, 1280)},
    "sdxl": {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
    },
}
"""What a single file does not say of its UNet."""
VAE_CHANNELS = (128, 256, 512, 512)

Precision = Literal["fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class ModelShapes:
    """A base model without its numbers."""

    family: base_model.Family
    components: dict[str, Tensors]
    unet: dict[str, Any]
    """Its config.json."""
    vae_channels: tuple[int, ...] = VAE_CHANNELS

    @property
    def vae_factor(self) -> int:
        """Pixels per latent, along one side."""
        return 2 ** (len(self.vae_channels) - 1)

    def weights(self, component: str) -> int:
        """How many numbers a component has."""
        return sum(tensor.count for tensor in self.components.get(component, {}).values())


@dataclass(frozen=True)
class Footprint:
    """The peak of one program: bytes by component at its worst moment."""

    program: Literal["trainer", "evaluator"]
    moment: str
    parts: dict[str, float]

    @property
    def bytes(self) -> float:
        """In all."""
        return sum(self.parts.values())


def read_shapes(path: str, *, revision: str | None = None, variant: str | None = None) -> ModelShapes | None:
    """The shapes of `model.path`; None: a hub id that is not downloaded yet.

    Raises:
        ModelError: not a model, or a damaged one, or without that variant.
    """
    files, family = base_model.model_files(path, revision), base_model.family(path, revision)
    if files is None or family is None:
        return None
    components = read_components(files, variant)
    if files.is_file():
        return ModelShapes(family, components, UNETS[family])
    unet, vae = (base_model.read_json(files / part / "config.json") for part in ("unet", "vae"))
    return ModelShapes(family, components, unet, tuple(vae.get("block_out_channels", VAE_CHANNELS)))


def unet_work(unet: dict[str, Any], latent_pixels: float) -> tuple[float, float, float]:
    """What a UNet's activations grow with, for one picture, in numbers (latent pixels × channels).

    Returns: summed over its residual blocks, summed over its transformer layers, and of its widest level.
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
        resnet_work += size * (2 * count + 1)  # the way up has one block more
        transformer_work += size * depth * (count * ("CrossAttn" in down_type) + (count + 1) * ("CrossAttn" in up_type))
    return resnet_work + 2 * sizes[-1], transformer_work + depths[-1] * sizes[-1], max(sizes)


def _per_level(value: int | Iterable[int], levels: int) -> list[int]:
    return [value] * levels if isinstance(value, int) else list(value)


def activation_bytes(model: ModelShapes, batch: int, resolution: int, *, half: bool, checkpointing: bool) -> float:
    """What a forward and backward pass holds at its peak, weights and the adapter's gradients apart."""
    work = unet_work(model.unet, (resolution / model.vae_factor) ** 2)
    constants = TRAINING_BYTES[half, checkpointing]
    return batch * sum(constant * value for constant, value in zip(constants, work, strict=True))


def lora_parameters(tensors: Tensors, ends: Iterable[str], rank: int, conv_rank: int | None = None) -> int:
    """Numbers in a LoRA on the modules whose names end in one of `ends`: rank × (inputs + outputs) of each.

    conv_rank: of convolutions with a kernel larger than 1, where they have their own.
    """
    suffixes = tuple(f".{end}.weight" for end in ends)
    adapted = [
        tensor.shape for name, tensor in tensors.items() if f".{name}".endswith(suffixes) and len(tensor.shape) > 1
    ]
    wide = rank if conv_rank is None else conv_rank
    return sum((wide if math.prod(shape[2:]) > 1 else rank) * (shape[0] + math.prod(shape[1:])) for shape in adapted)


def adapter_parameters(model: ModelShapes, settings: LoraConfig) -> int:
    """Numbers in the whole adapter these settings describe."""
    unet = model.components.get("unet", {})
    found = lora_parameters(unet, _targets(unet, settings), settings.rank, settings.conv_rank)
    if settings.text_encoder:
        for name in ("text_encoder", "text_encoder_2"):
            found += lora_parameters(model.components.get(name, {}), settings.text_encoder_targets, settings.rank)
    return found


def trainer_footprint(model: ModelShapes, config: Config, precision: Precision, *, on_gpu: bool) -> Footprint:
    """The trainer's peak: while it encodes pictures and captions, or while it trains, whichever is higher."""
    training, encoding = _training_parts(model, config, precision), _encoding_parts(model, config, precision)
    common = _common_parts(model, precision, on_gpu=on_gpu)
    phases = {"training": {**training, **common}, "encoding pictures": {**encoding, **common}}
    if not on_gpu:  # the encoders stay where they are; only what the phases compute is not there at once
        encoding.pop("encoding")
        return Footprint("trainer", "training", {**encoding, **training, **common})
    moment = max(phases, key=lambda name: sum(phases[name].values()))
    return Footprint("trainer", moment, phases[moment])


def evaluator_footprint(model: ModelShapes, config: Config, precision: Precision, *, on_gpu: bool) -> Footprint:
    """The evaluator's peak: everything resident, and the larger of a denoising pass and the VAE's decoding."""
    settings, resolution = config.evaluation, config.data.resolution
    adapter = adapter_parameters(model, config.lora)
    width = unet_work(model.unet, (resolution / model.vae_factor) ** 2)[2]
    scale = BYTES[precision] / 2  # constants are fp16's
    decoding = 2 if model.family == "sdxl" and precision == "fp16" else scale  # SDXL's VAE overflows in fp16
    drawing = {
        "drawing: denoising": DENOISING_BYTES * scale * 2 * settings.batch_size * width,
        "drawing: decoding": DECODING_BYTES * decoding * settings.batch_size * resolution**2 * model.vae_channels[0],
    }
    highest = max(drawing, key=lambda name: drawing[name])
    parts = {
        "base model": BYTES[precision] * sum(map(model.weights, model.components)),
        "adapter": BYTES[precision] * adapter,
        highest: drawing[highest],
        "fashion_clip": 0.0 if settings.fashion_clip == POCKET else CLIP_BYTES,
        **_common_parts(model, precision, on_gpu=on_gpu),
    }
    return Footprint("evaluator", "drawing", parts)


def _training_parts(model: ModelShapes, config: Config, precision: Precision) -> dict[str, float]:
    settings, adapter = config.train, adapter_parameters(model, config.lora)
    parts = {
        "denoiser": _frozen_bytes(model, precision, config.model.quantization),
        "adapter and gradients": 8.0 * adapter,
        "optimizer": float(OPTIMIZER_BYTES.get(settings.optimizer.lower(), 8) * adapter),
        **({"moving average": 4.0 * adapter} if settings.ema_decay else {}),
        "activations": activation_bytes(
            model,
            settings.train_batch_size,
            config.data.resolution,
            half=precision != "fp32",
            checkpointing=settings.gradient_checkpointing,
        ),
    }
    if config.encodes_captions_live:
        parts["text encoders"] = BYTES[precision] * _text_weights(model)
    return parts


def _encoding_parts(model: ModelShapes, config: Config, precision: Precision) -> dict[str, float]:
    """VAE in fp32, one picture at a time; the denoiser is not on the device yet, unless it is quantised there."""
    parts = {
        "VAE": 4.0 * model.weights("vae"),
        "encoding": 2 * ENCODING_BYTES * config.data.resolution**2 * model.vae_channels[0],
        "text encoders": BYTES[precision] * _text_weights(model),
    }
    if config.model.quantization != "none":
        parts["denoiser"] = _frozen_bytes(model, precision, config.model.quantization)
    return parts


def _common_parts(model: ModelShapes, precision: Precision, *, on_gpu: bool) -> dict[str, float]:
    return {"CUDA context": CUDA_CONTEXT_BYTES} if on_gpu else {"Python and libraries": PROCESS_BYTES}


def _frozen_bytes(model: ModelShapes, precision: Precision, quantization: str) -> float:
    """Bytes of the denoiser's weights; bitsandbytes quantises linear layers only."""
    matrices = sum(tensor.count for tensor in model.components.get("unet", {}).values() if len(tensor.shape) == 2)
    others = model.weights("unet") - matrices
    return matrices * QUANTISED_BYTES.get(quantization, BYTES[precision]) + others * BYTES[precision]


def _targets(unet: Tensors, settings: LoraConfig) -> list[str]:
    """Ends of the names of the denoiser's modules with an adapter, as its file calls them."""
    linear = all(len(tensor.shape) == 2 for name, tensor in unet.items() if name.endswith(".proj_in.weight"))
    ends = targets.resolve(settings.target_modules, linear_projections=linear)
    if not any(name.startswith("model.diffusion_model.") for name in unet):
        return list(ends)
    return [name for end in ends for name in targets.SINGLE_FILE_ENDS.get(end, (end,))]


def _text_weights(model: ModelShapes) -> int:
    return model.weights("text_encoder") + model.weights("text_encoder_2")
