"""Loads a base model from a diffusers folder, a hub id or a single `.safetensors` file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, cast

import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from shared.base_model import family, model_files, resolve
from shared.config import ModelConfig
from shared.diffusion import quantization
from shared.diffusion.model import Model, StableDiffusion, StableDiffusionXL
from shared.errors import DeviceError, ModelError

Precision = Literal["fp32", "fp16", "bf16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


MODELS: dict[str, type[Model]] = {
    model.pipeline_class.__name__: model for model in (StableDiffusion, StableDiffusionXL)
}


def load_model(settings: ModelConfig, precision: Precision, *, for_training: bool = False) -> Model:
    """The base model on the CPU, without safety checker, its progress bar off. No code of the model's own is ever run.

    for_training: heed `settings.quantization`, which puts the denoiser on the GPU; and load the VAE in fp32, in which
    pictures are encoded. A VAE that only decodes has the pipeline's precision, as in any other program.

    Raises:
        ModelError: nothing loadable at `settings.path`, or a model of another family.
    """
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    location = resolve(settings.path)
    try:
        kind = _single_file_kind(location) if Path(location).is_file() else _folder_kind(location)
        model = kind(_load(kind, location, settings, precision, for_training=for_training))
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise _explained(error, location, settings) from error
    if settings.prediction_type != "auto":
        scheduler = model.pipeline.scheduler
        model.pipeline.scheduler = scheduler.from_config(scheduler.config, prediction_type=settings.prediction_type)
    model.pipeline.set_progress_bar_config(disable=True)
    return model


def _explained(error: Exception, location: str, settings: ModelConfig) -> ModelError:
    """diffusers says of a hub it could not reach that the model lacks a file."""
    reason, hint = str(error).strip().partition("\n")[0], "is the folder complete, or the hub reachable?"
    if Path(location).is_file() and not settings.single_file_config:
        hint = "set model.single_file_config to a diffusers folder of the same family where the hub is out of reach"
    if model_files(location) is None:
        reason = f"it is not in the cache, and the hub did not give it ({reason})"
        hint = f"is the name right? where there is a network: hf download {location}"
    return ModelError(f"cannot load {settings.path}: {reason}", hint)


def _single_file_kind(path: str) -> type[Model]:
    return StableDiffusionXL if family(path) == "sdxl" else StableDiffusion


def _folder_kind(location: str) -> type[Model]:
    """By the pipeline's class name, of a folder or a hub id."""
    name = cast("dict[str, Any]", DiffusionPipeline.load_config(location))["_class_name"]
    if name not in MODELS:
        raise ModelError(f"{location} is a {name}", f"these can be trained: {', '.join(MODELS)}")
    return MODELS[name]


def _load(kind: type[Model], location: str, settings: ModelConfig, precision: Precision, *, for_training: bool) -> Any:
    arguments: dict[str, Any] = {"dtype": DTYPES[precision], "use_safetensors": True}
    if kind is StableDiffusion:
        arguments |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if not Path(location).is_file():
        if for_training:
            arguments |= quantization.loading_arguments(settings, DTYPES[precision])
            arguments["dtype"] = {"vae": torch.float32, "default": DTYPES[precision]}
        return kind.pipeline_class.from_pretrained(location, **arguments)
    described = {"config": settings.single_file_config} if settings.single_file_config else {}
    if for_training:  # one precision for all parts is all that a single file's pipeline takes
        arguments["vae"] = AutoencoderKL.from_single_file(location, subfolder="vae", dtype=torch.float32, **described)
    return kind.pipeline_class.from_single_file(location, **arguments, **described)


def share_cores(device: torch.device) -> None:
    """On a CPU, take half of the cores, all processes of a program together: trainer and evaluator share the machine.

    More threads than cores spin against each other: on two cores an evaluation beside training then took 25 times as
    long. The count never depends on who started the program, because sums, and so pictures, depend on it.
    OMP_NUM_THREADS overrides it.
    """
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2 // processes))


def choose_device(name: str) -> torch.device:
    """`auto` is the best this machine has: CUDA, then MPS, then CPU.

    Raises:
        DeviceError: the device named is not here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= available.get(device.type, 0):
        raise DeviceError(f"device {name} is not available", "`python run.py doctor` shows what this machine has")
    return device
