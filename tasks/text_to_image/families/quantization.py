"""A frozen denoiser in 8-bit integers or 4-bit NF4 (QLoRA, Dettmers et al. 2023), by bitsandbytes through diffusers.

Only its linear layers are quantised; they compute in the run's precision. Convolutions, norms and everything outside
the denoiser stay in the run's precision. Norms run in fp32 under autocast. CUDA only.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from diffusers import BitsAndBytesConfig, PipelineQuantizationConfig

from shared.config.schema import ModelConfig
from shared.errors import ConfigError, DeviceError
from tasks.text_to_image.models.base_model import resolve


def require(settings: ModelConfig, device: torch.device) -> None:
    """Check that the model can be quantised here, before anything large is loaded.

    Raises:
        DeviceError: the device is not CUDA. ConfigError: bitsandbytes is missing, or the model is a single file.
    """
    if settings.quantization in ("none", "fp8"):
        return
    setting = f"model.quantization is {settings.quantization}"
    if device.type != "cuda":
        raise DeviceError(
            f"{setting}, which needs an NVIDIA GPU; this device is {device.type}", "set model.quantization = 'none'"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(f"{setting}, which needs bitsandbytes", "pip install 'darkroom[gpu]'")
    if Path(resolve(settings.path)).is_file():
        raise ConfigError(
            f"{setting}, but model.path is a single file: only diffusers folders and hub ids can be quantised",
            "load the file once with diffusers' from_single_file and write it to a folder with save_pretrained",
        )


def loading_arguments(settings: ModelConfig, dtype: torch.dtype, denoiser: str) -> dict[str, Any]:
    """Arguments of `from_pretrained` that quantise the denoiser while it is loaded, onto the current GPU.

    denoiser: the pipeline's name of the denoiser.
    """
    if settings.quantization in ("none", "fp8"):
        return {}
    config = BitsAndBytesConfig(load_in_8bit=True) if settings.quantization == "8bit" else _nf4(dtype)
    return {"quantization_config": PipelineQuantizationConfig(quant_mapping={denoiser: config})}


def _nf4(dtype: torch.dtype) -> BitsAndBytesConfig:
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
