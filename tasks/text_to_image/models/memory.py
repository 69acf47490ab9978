"""How much memory a run will hold at its worst moment, told from shapes before anything is loaded.

Weights, adapter and optimizer are counted from the headers of the model's files. Activations are estimated from the
denoiser's architecture by its family. Everything here is arithmetic; what is free, and what to do about it, is
`precheck`'s.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from shared.config.path_settings import NO_PICTURES
from shared.config.schema import POCKET, Config, LoraConfig, ModelConfig
from shared.data import dataset, hub_datasets, prompt_file, sources
from shared.data.sources import ScanReport
from shared.errors import DarkroomError, ModelError
from tasks.text_to_image.encoders import files
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.models import base_model, fresh_denoiser, trained_whole
from tasks.text_to_image.models.pipeline_folder import read_json
from tasks.text_to_image.models.weights_header import (
    Tensors,
    choose_variant,
    folder_tensors,
    names_in,
    read_header,
)
from tasks.text_to_image.weights import denoiser_blocks

GIB = 2**30
BYTES = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0}
QUANTISED_BYTES = {"fp8": 1.0, "8bit": 1.0, "4bit": 0.5 + 4 / 64}
"""Of a weight; NF4 keeps one fp32 scale for 64 weights (Dettmers et al. 2023)."""
WIDE = re.compile(r"pos_embed|patch_embed|norm|t_embedder|cap_embedder|^proj_(in|out)\.")
"""What keeps its precision in fp8: diffusers' `DEFAULT_SKIP_MODULES_PATTERN` and what its models add."""
OPTIMIZER_BYTES = {"adamw": 8, "adamw8bit": 2, "prodigy": 16, "adafactor": 0, "sgd": 0}
"""Per trained parameter, beside its fp32 value and gradient; a class not listed counts as AdamW."""
CLIP_BYTES = 0.6 * GIB
"""FashionCLIP (ViT-B/32) in fp32: 151 million weights."""
SEGMENTER_BYTES = 0.7 * GIB
"""A SegFormer B3 in fp32, 47 million weights, and its activations for one picture of 512 × 512."""
JUDGE_WEIGHTS = 2e9
"""Of a judge that is not on this machine yet: assumed, as of a small one."""

CUDA_CONTEXT_BYTES = 0.5 * GIB
"""Kernels and handles of one process on a device: assumed, between 0.3 and 0.6 GiB by driver and card."""
PROCESS_BYTES = 0.5 * GIB
"""Python with everything a program imports, resident: 440 to 460 MiB measured."""

VAE_CHANNELS = (128, 256, 512, 512)

Precision = Literal["fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class ModelShapes:
    """A base model without its numbers."""

    family: Family
    components: dict[str, Tensors]
    denoiser: Mapping[str, Any]
    """Its config.json."""
    vae_channels: tuple[int, ...] = VAE_CHANNELS
    num_sources: int = 0
    """Of each picture, see `data.sources`."""

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


def read_shapes(
    path: str, *, revision: str | None = None, variant: str | None = None, described: str | None = None
) -> ModelShapes | None:
    """The shapes of `model.path`; None: a hub id that is not downloaded yet.

    described: `model.single_file_config`; what a single file lacks is counted from there, if it is on this machine.

    Raises:
        ModelError: not a model, or a damaged one, or without that variant.
    """
    place, family = base_model.model_files(path, revision), base_model.family(path, revision)
    if place is None or family is None:
        return None
    components = read_components(place, family, variant)
    if place.is_dir():
        return _of_folder(place, family, components)
    rest = described or family.completed_by if family.completed_by else None
    whole = base_model.model_files(rest) if rest else None
    if whole is None or not whole.is_dir():
        return ModelShapes(family, components, family.described)
    return _of_folder(whole, family, {**read_components(whole, family, variant), **components})


def _of_folder(folder: Path, family: Family, components: dict[str, Tensors]) -> ModelShapes:
    denoiser, vae = (read_json(folder / part / "config.json") for part in (family.denoiser, "vae"))
    return ModelShapes(family, components, denoiser, family.vae_channels(vae))


def with_sources(model: ModelShapes, config: Config) -> ModelShapes:
    """The model as a run uses it: at least one source of each picture is counted, if pictures have some."""
    return replace(model, num_sources=max(model.num_sources, int(config.data.sources == "files")))


def most_sources(config: Config) -> int:
    """Of one picture of the data set, or of a prompt of a person's own; 0 where they are not used. What cannot be read
    is told elsewhere, and counts as one."""
    count = 0
    with contextlib.suppress(DarkroomError):
        if config.data.sources == "files" and config.data.path != NO_PICTURES:
            pairs = sources.read(hub_datasets.on_disk(config.data.path, dataset.cache_dir(config)), ScanReport())
            count = max((len(pair.sources) for pair in pairs), default=0)
    with contextlib.suppress(DarkroomError):
        if config.evaluation.prompts:
            own = prompt_file.read(Path(config.evaluation.prompts), config.data.trigger_word, 1, is_copy=True)
            count = max(count, *(len(one.sources) for one in own))
    return count


def activation_bytes(model: ModelShapes, batch: int, resolution: int, *, half: bool, checkpointing: bool) -> float:
    """What a forward and backward pass holds at its peak, weights and the adapter's gradients apart."""
    return model.family.activation_bytes(model, batch, resolution, half=half, checkpointing=checkpointing)


def lora_parameters(tensors: Tensors, ends: Iterable[str], rank: int, conv_rank: int | None = None) -> int:
    """Numbers in a LoRA on the modules whose names end in one of `ends`: rank × (inputs + outputs) of each.

    conv_rank: of convolutions with a kernel larger than 1, where they have their own.
    """
    adapted, wide = _adapted(tensors, ends), rank if conv_rank is None else conv_rank
    return sum((wide if math.prod(shape[2:]) > 1 else rank) * (shape[0] + math.prod(shape[1:])) for shape in adapted)


def adapted_shapes(model: ModelShapes, settings: LoraConfig, *, with_text_encoders: bool) -> list[tuple[int, ...]]:
    """Shapes of the weights that get an adapter, sorted: files of different kinds name modules differently."""
    denoiser = model.components.get(model.family.denoiser, {})
    shapes = _adapted(denoiser, _targets(model.family, denoiser, settings))
    for name in model.family.text_encoders if with_text_encoders else ():
        shapes += _adapted(model.components.get(name, {}), settings.text_encoder_targets)
    return sorted(tuple(shape) for shape in shapes)


def is_single_file(model: ModelShapes) -> bool:
    """Whether its modules are named as in a checkpoint of one file."""
    return _is_of_file(model.family, model.components.get(model.family.denoiser, {}))


def _adapted(tensors: Tensors, ends: Iterable[str]) -> list[Sequence[int]]:
    """Shapes of the matrices and kernels whose modules' names end in one of these."""
    suffixes = tuple(f".{end}.weight" for end in ends)
    return [tensor.shape for name, tensor in tensors.items() if f".{name}".endswith(suffixes) and len(tensor.shape) > 1]


def with_fresh_denoiser(model: ModelShapes, settings: ModelConfig) -> ModelShapes:
    """The model with the denoiser that is trained from scratch, where its shapes are not those of the model's own.

    Raises:
        ConfigError: `model.denoiser` is no configuration of a denoiser.
    """
    name = model.family.denoiser
    if settings.denoiser is None and model.components.get(name):
        return model
    denoiser = fresh_denoiser.read(settings.denoiser) if settings.denoiser else dict(model.denoiser)
    components = {**model.components, name: fresh_denoiser.shapes(denoiser)}
    return replace(model, components=components, denoiser=denoiser)


def trained_parameters(model: ModelShapes, config: Config) -> int:
    """Numbers that are trained."""
    if trained_whole.is_whole(config):
        return model.weights(model.family.denoiser)
    return adapter_parameters(model, config.lora)


def adapter_parameters(model: ModelShapes, settings: LoraConfig) -> int:
    """Numbers in the whole adapter these settings describe."""
    denoiser = model.components.get(model.family.denoiser, {})
    count = lora_parameters(denoiser, _targets(model.family, denoiser, settings), settings.rank, settings.conv_rank)
    if settings.text_encoder:
        for name in model.family.text_encoders:
            count += lora_parameters(model.components.get(name, {}), settings.text_encoder_targets, settings.rank)
    return count


def trainer_footprint(model: ModelShapes, config: Config, precision: Precision, *, on_gpu: bool) -> Footprint:
    """The trainer's peak: while it encodes pictures, or captions, or while it trains, whichever is highest."""
    model = with_sources(model, config)
    training = _training_parts(model, config, precision, on_gpu=on_gpu)
    common = _common_parts(model, precision, on_gpu=on_gpu)
    pictures, captions = _encoding_parts(model, config, precision)
    if on_gpu:
        phases = {"training": training, "encoding pictures": pictures}
        phases |= {"encoding captions": captions} if model.family.encoders_stay else {}  # others turn to the CPU
    else:  # what is loaded stays where it is; only what the phases compute is not there at once
        loaded = {"denoiser": training["denoiser"], "VAE": pictures["VAE"]}
        loaded |= captions if model.family.encoders_stay else {}
        phases = {"training": {**loaded, **training}, "encoding captions": {**loaded, **captions}}
    moment = max(phases, key=lambda name: sum(phases[name].values()))
    return Footprint("trainer", moment, {**phases[moment], **common})


def evaluator_footprint(model: ModelShapes, config: Config, precision: Precision, *, on_gpu: bool) -> Footprint:
    """The evaluator's peak: everything resident, and the larger of a denoising pass and the VAE's decoding."""
    settings, resolution, model = config.evaluation, config.data.resolution, with_sources(model, config)
    scale = BYTES[precision] / 2  # constants are fp16's
    decoding = 2 if model.family.decodes_in_fp32 and precision == "fp16" else scale
    drawing = {
        "drawing: denoising": 2 * settings.batch_size * scale * model.family.denoising_bytes(model, resolution),
        "drawing: decoding": model.family.decoding_bytes
        * (decoding * settings.batch_size * resolution**2 * model.vae_channels[0]),
    }
    if not (on_gpu or model.family.encoders_stay):  # on a GPU the denoiser makes room for them
        drawing["encoding prompts"] = BYTES[precision] * _text_weights(model)
    highest = max(drawing, key=lambda name: drawing[name])
    parts = {
        "base model": BYTES[precision] * sum(map(model.weights, _drawing_parts(model)))
        - (_away_bytes(model, precision, "none", settings.blocks_to_swap) if on_gpu else 0.0),
        **_learnt_parts(model, config, precision, on_gpu=on_gpu),
        highest: drawing[highest],
        "fashion_clip": 0.0 if settings.fashion_clip == POCKET else CLIP_BYTES,
        **({"segmenter": SEGMENTER_BYTES} if settings.segmenter else {}),
        **({"judge": _judge_weights(settings.judge) * (2.0 if on_gpu else 4.0)} if settings.judge else {}),
        **_common_parts(model, precision, on_gpu=on_gpu),
    }
    return Footprint("evaluator", "drawing", parts)


def _learnt_parts(model: ModelShapes, config: Config, precision: Precision, *, on_gpu: bool) -> dict[str, float]:
    """What a snapshot adds; all weights take the place of those from before training, which wait on the host."""
    size = BYTES[precision] * trained_parameters(model, config)
    if trained_whole.is_whole(config):
        return {} if on_gpu else {"weights before training": size}
    return {"adapter": size}


def _drawing_parts(model: ModelShapes) -> list[str]:
    """The parts that stay loaded while pictures are drawn."""
    gone = () if model.family.encoders_stay else model.family.text_encoders
    return [part for part in model.components if part not in gone]


def _training_parts(model: ModelShapes, config: Config, precision: Precision, *, on_gpu: bool) -> dict[str, float]:
    settings, trained = config.train, trained_parameters(model, config)
    parts = {
        **_weights_parts(model, config, precision, trained, on_gpu=on_gpu),
        "optimizer": float(OPTIMIZER_BYTES.get(settings.optimizer.lower(), 8) * trained),
        **({"moving average": 4.0 * trained} if settings.ema_decay else {}),
        "activations": activation_bytes(
            model,
            settings.train_batch_size,
            config.data.resolution,
            half=precision != "fp32",
            checkpointing=bool(settings.gradient_checkpointing),
        ),
    }
    if on_gpu and settings.gradient_checkpointing == "offload":
        parts["activations"] -= model.family.offloaded_bytes(
            model, settings.train_batch_size, config.data.resolution, half=precision != "fp32"
        )
    if config.encodes_captions_live:
        parts["text encoders"] = BYTES[precision] * _text_weights(model)
    return parts


def _weights_parts(
    model: ModelShapes, config: Config, precision: Precision, trained: int, *, on_gpu: bool
) -> dict[str, float]:
    """Weights, frozen ones and trained ones with their gradients, in fp32. A half-precision copy of trained matrices
    lives as long as a forward pass: autocast keeps it."""
    if trained_whole.is_whole(config):
        copies = {"copies in half precision": 2.0 * trained} if precision != "fp32" else {}
        return {"denoiser": 4.0 * trained, "gradients": 4.0 * trained, **copies}
    swapped = config.model.blocks_to_swap if on_gpu else 0
    return {
        "denoiser": _frozen_bytes(model, precision, config.model.quantization)
        - _away_bytes(model, precision, config.model.quantization, swapped),
        "adapter and gradients": 8.0 * trained,
    }


def _encoding_parts(
    model: ModelShapes, config: Config, precision: Precision
) -> tuple[dict[str, float], dict[str, float]]:
    """Of encoding pictures, one at a time with the VAE in fp32, and of encoding captions.

    The denoiser is not on the device yet, unless it is quantised there.
    """
    pictures = {
        "VAE": 4.0 * model.weights("vae"),
        "encoding": 2 * model.family.encoding_bytes * config.data.resolution**2 * model.vae_channels[0],
    }
    captions = {"text encoders": BYTES[precision] * _text_weights(model)}
    if config.model.quantization not in ("none", "fp8"):
        denoiser = _frozen_bytes(model, precision, config.model.quantization)
        pictures["denoiser"] = captions["denoiser"] = denoiser
    return pictures, captions


def _judge_weights(source: str) -> float:
    """Numbers in a judge; what it computes for one picture is small beside them."""
    try:
        folder = files.on_this_machine(source)
        weights = files.weights_in(folder) if folder else []
        counted = sum(tensor.count for path in weights for tensor in read_header(path).values())
    except (ModelError, OSError):  # told where it is loaded
        counted = 0
    return float(counted) or JUDGE_WEIGHTS


def _common_parts(model: ModelShapes, precision: Precision, *, on_gpu: bool) -> dict[str, float]:
    return {"CUDA context": CUDA_CONTEXT_BYTES} if on_gpu else {"Python and libraries": PROCESS_BYTES}


def _frozen_bytes(model: ModelShapes, precision: Precision, quantization: str) -> float:
    """Bytes of the denoiser's weights."""
    return _weight_bytes(model.components.get(model.family.denoiser, {}), precision, quantization)


def _weight_bytes(tensors: Tensors, precision: Precision, quantization: str) -> float:
    small = _quantised(tensors, quantization)
    others = sum(tensor.count for tensor in tensors.values()) - small
    return small * QUANTISED_BYTES.get(quantization, BYTES[precision]) + others * BYTES[precision]


def quantised_weights(model: ModelShapes, quantization: str) -> int:
    """How many of the denoiser's weights are held in fewer bits."""
    if quantization == "none":
        return 0
    return _quantised(model.components.get(model.family.denoiser, {}), quantization)


def _quantised(tensors: Tensors, quantization: str) -> int:
    return sum(tensor.count for name, tensor in tensors.items() if _is_quantised(name, tensor.shape, quantization))


def _is_quantised(name: str, shape: Sequence[int], quantization: str) -> bool:
    """bitsandbytes quantises linear layers; fp8 are all kernels and matrices that diffusers does not leave out."""
    return len(shape) > 1 and not WIDE.search(name) if quantization == "fp8" else len(shape) == 2


def blocks(model: ModelShapes) -> list[Tensors]:
    """Each of the denoiser's blocks."""
    return denoiser_blocks.blocks(model.components.get(model.family.denoiser, {}))


def swapped_bytes(model: ModelShapes, precision: Precision, quantization: str, count: int) -> list[float]:
    """Of each block that waits in the host's memory while `count` blocks are swapped."""
    every = blocks(model)
    chosen = denoiser_blocks.spread(min(count, len(every)), len(every))
    return [_weight_bytes(every[number], precision, quantization) for number in chosen]


def _away_bytes(model: ModelShapes, precision: Precision, quantization: str, count: int) -> float:
    """Bytes of the denoiser that are not on the GPU while `count` blocks are swapped."""
    sizes = swapped_bytes(model, precision, quantization, count)
    return max(0.0, sum(sizes) - denoiser_blocks.ON_DEVICE * max(sizes, default=0.0))


def read_components(place: Path, family: Family, variant: str | None = None) -> dict[str, Tensors]:
    """The tensors of each part of a diffusers folder or of a single file.

    Raises:
        ModelError: a file cannot be read, or is cut; or as `choose_variant`.
    """
    if place.is_dir():
        chosen = choose_variant(names_in(place, family.weighted_parts), variant, str(place))
        components = {part: folder_tensors(place / part, chosen) for part in family.weighted_parts}
        return {part: tensors for part, tensors in components.items() if tensors}
    return family.tensors_of_file(read_header(place))


def _targets(family: Family, denoiser: Tensors, settings: LoraConfig) -> list[str]:
    """Ends of the names of the denoiser's modules with an adapter, as its file calls them."""
    linear = all(len(tensor.shape) == 2 for name, tensor in denoiser.items() if name.endswith(".proj_in.weight"))
    ends = family.targets(settings.target_modules, linear_projections=linear)
    if not _is_of_file(family, denoiser):
        return list(ends)
    return [name for end in ends for name in family.file_ends.get(end, (end,))]


def _is_of_file(family: Family, denoiser: Tensors) -> bool:
    prefixes = tuple(family.file_parts)
    return any(name.startswith(prefixes) for name in denoiser)


def _text_weights(model: ModelShapes) -> int:
    return sum(map(model.weights, model.family.text_encoders))
