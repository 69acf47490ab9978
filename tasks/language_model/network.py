"""The base model, loaded: its precision, its quantised layers, and what it is asked. With a LoRA: `adapter`."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.utils import logging as transformers_logging

from shared.config.schema import ModelConfig
from shared.errors import DeviceError, ModelError
from tasks.language_model.data.tokens import Tokens
from tasks.language_model.rows import Rows, lay_out

State = dict[str, Tensor]
TOLERANCES, OF_HALF = {torch.float32: 1e-4}, 2e-2
"""Between scores of an example in a row of its own and beside another one, as a share of the largest score."""
HOLD_FEW_BITS = ("cuda", "cpu")
"""Devices on which layers of bitsandbytes were trained. It has kernels for others too."""
PACKS_ANEW = "support_avx512bf16_for_cpu"
"""Of bitsandbytes' 4-bit layers. On some CPUs they round their scales once more, for good, when they first compute
without gradients: a held-out loss would change what is trained, and layers with fewer than 64 inputs fail."""


class LanguageModel(nn.Module):
    """A model of transformers that gives nothing but scores."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        accepted = inspect.signature(getattr(network, "get_base_model", lambda: network)().forward).parameters
        self._takes_positions = "position_ids" in accepted

    def forward(self, ids_RL: Tensor, positions_RL: Tensor) -> Tensor:
        """Scores of the token after each one, before softmax. (R, L, V), in the model's precision.

        Positions begin again at 0 where another example begins: that is how a model keeps them apart.
        """
        positions = {"position_ids": positions_RL} if self._takes_positions else {}
        return self.network(input_ids=ids_RL, use_cache=False, **positions).logits


def load(settings: ModelConfig, identity: Mapping[str, str], dtype: torch.dtype, device: torch.device) -> Any:
    """The frozen base model on its device. identity: the recorded base model.

    Raises:
        ModelError: the weights are not to be had, or do not fit.
        DeviceError: this device cannot hold weights of so few bits.
    """
    require_quantization(settings, device)
    transformers_logging.disable_progress_bar()
    bits: dict[str, Any] = {}
    if settings.quantization == "8bit":
        bits = {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    elif settings.quantization == "4bit":
        described = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )  # QLoRA, Dettmers et al. 2023
        bits = {"quantization_config": described}
    if bits:
        bits["device_map"] = {"": device}
    try:
        network: Any = AutoModelForCausalLM.from_pretrained(
            settings.path,
            revision=settings.revision or identity.get("commit"),
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            **bits,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"the model {settings.path} cannot be loaded: {reason}",
            f"download it whole (hf download {settings.path}), or save it again with save_pretrained",
        ) from None
    network.requires_grad_(requires_grad=False)
    for layer in network.modules():
        if hasattr(layer, PACKS_ANEW):
            setattr(layer, PACKS_ANEW, False)
    return network if bits else network.to(device)


def require_quantization(settings: ModelConfig, device: torch.device) -> None:
    """Whether weights of so few bits can be held there.

    Raises:
        DeviceError: the device is neither CUDA nor a CPU, or bitsandbytes is missing.
    """
    if settings.quantization == "none":
        return
    setting = f'model.quantization is "{settings.quantization}"'
    if device.type not in HOLD_FEW_BITS:
        raise DeviceError(
            f"{setting}, which needs an NVIDIA GPU or a CPU; this device is {device.type}",
            'set model.quantization = "none"',
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise DeviceError(f"{setting}, and bitsandbytes is not installed", "pip install bitsandbytes")


def keeps_apart(module: LanguageModel, examples: Sequence[Tokens], padding: int, device: torch.device) -> bool:
    """Whether examples of one row have the scores that each has in a row of its own. Looks at the first three."""
    few = [Tokens(one.ids[:16], one.counted[:16]) for one in examples[:3]]
    found: list[list[Tensor]] = []
    with torch.no_grad():
        for packs in (True, False):
            rows = lay_out(few, sum(len(one.ids) for one in few), padding, packs=packs)
            scores_RLV = scores(module, rows, device).cpu()
            found.append([scores_RLV[rows.owners == number] for number in range(len(few))])
    together, apart = (torch.cat(parts) for parts in found)
    tolerance = TOLERANCES.get(next(module.parameters()).dtype, OF_HALF)
    return bool((together - apart).abs().max() <= tolerance * apart.abs().max())


def scores(module: nn.Module, rows: Rows, device: torch.device) -> Tensor:
    """(R, L, V), float32."""
    return module(rows.ids.to(device), rows.positions.to(device)).float()
