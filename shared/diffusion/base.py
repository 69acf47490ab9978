"""Loads a base model from a diffusers folder, a hub id or a single `.safetensors` file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from shared.base_model import resolve
from shared.errors import DeviceError, ModelError

Precision = Literal["fp32", "fp16", "bf16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def load_pipeline(path: str, precision: Precision) -> StableDiffusionPipeline:
    """A Stable Diffusion pipeline on the CPU, without safety checker, its progress bar off.

    Raises:
        ModelError: nothing loadable at `path`.
    """
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    location = resolve(path)
    load = (
        StableDiffusionPipeline.from_single_file
        if Path(location).is_file()
        else StableDiffusionPipeline.from_pretrained
    )
    try:
        pipeline = load(
            location,
            dtype=DTYPES[precision],
            use_safetensors=True,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"cannot load {path}: {reason}", "is the folder complete, or the hub reachable?") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def share_cores(device: torch.device) -> None:
    """On a CPU, take half of the cores: trainer and evaluator run side by side there.

    More threads than cores spin against each other: on two cores an evaluation beside training then took 25 times as
    long. The count never depends on who started the program, because sums, and so pictures, depend on it.
    OMP_NUM_THREADS overrides it.
    """
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))


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
