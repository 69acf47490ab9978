"""A LoRA on a UNet: attached for training, read out, and written as the file that will be shipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import _collate_lora_metadata, cast_training_params
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

from shared import config
from shared.errors import ModelError

ADAPTER = "default"
LORA_FILE = "pytorch_lora_weights.safetensors"

State = dict[str, torch.Tensor]


def attach(unet: UNet2DConditionModel, settings: config.LoraConfig) -> None:
    """Add a trainable fp32 adapter to a UNet and freeze the rest. A is Gaussian, B zero: the output is unchanged.

    Raises:
        ModelError: no module of the UNet ends in one of `target_modules`.
    """
    unet.requires_grad_(False)
    try:
        unet.add_adapter(
            LoraConfig(
                r=settings.rank,
                lora_alpha=settings.lora_alpha,
                target_modules=list(settings.target_modules),
                lora_dropout=settings.dropout,
                init_lora_weights="gaussian",
            ),
            adapter_name=ADAPTER,
        )
    except ValueError as error:
        raise ModelError(
            f"lora.target_modules {list(settings.target_modules)}: {error}",
            'attention is ["to_k", "to_q", "to_v", "to_out.0"]',
        ) from None
    cast_training_params(unet, dtype=torch.float32)


def parameters(unet: UNet2DConditionModel) -> list[torch.nn.Parameter]:
    """The adapter's parameters, in the module's order."""
    return [parameter for parameter in unet.parameters() if parameter.requires_grad]


def state(unet: UNet2DConditionModel) -> State:
    """A copy of the adapter on the host, fp32, keys as PEFT names them."""
    weights = get_peft_model_state_dict(unet, adapter_name=ADAPTER)
    return {key: value.detach().to("cpu", torch.float32, copy=True).contiguous() for key, value in weights.items()}


def restore(unet: UNet2DConditionModel, weights: State) -> None:
    """Put back what `state` read.

    Raises:
        ModelError: keys or shapes differ from the attached adapter's.
    """
    current = {key: value.shape for key, value in get_peft_model_state_dict(unet, adapter_name=ADAPTER).items()}
    if current != {key: value.shape for key, value in weights.items()}:
        raise ModelError(
            "the checkpoint holds another adapter than lora.* describes", "restore the settings or use --new"
        )
    set_peft_model_state_dict(unet, weights, adapter_name=ADAPTER)


def metadata(unet: UNet2DConditionModel) -> dict[str, Any]:
    """The adapter's configuration (rank, alpha, targets) as diffusers stores it inside the file.

    Sets become sorted lists: equal adapters give equal files.
    """
    collated = _collate_lora_metadata({"unet": unet})
    return {
        name: {key: sorted(value) if isinstance(value, set) else value for key, value in settings.items()}
        for name, settings in collated.items()
    }


def write(folder: Path, weights: State, adapter_metadata: dict[str, Any]) -> None:
    """Write `pytorch_lora_weights.safetensors`, loadable by `load_lora_weights`, alpha in its metadata.

    The keys stay as PEFT names them. diffusers' training scripts rename attention's (`lora.down`) and leave the others
    (`lora_A`); its loader judges all keys by the first, so a file that holds both loses its attention half in silence.
    """
    layers: dict[str, torch.nn.Module | torch.Tensor] = {**weights}
    StableDiffusionPipeline.save_lora_weights(
        folder, unet_lora_layers=layers, weight_name=LORA_FILE, **adapter_metadata
    )
    _sort_metadata(folder / LORA_FILE)


def _sort_metadata(path: Path) -> None:
    """Put a safetensors file's metadata in order: the library writes it in another order each time."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[start:])


def is_finite(weights: State) -> bool:
    """False if any value is NaN or infinite."""
    return all(bool(torch.isfinite(value).all()) for value in weights.values())
