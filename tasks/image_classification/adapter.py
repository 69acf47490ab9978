"""A LoRA of the network's layers, and the layer of the classes, which is trained whole."""

from __future__ import annotations

import copy
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from shared.config.schema import Config
from tasks import data_order
from tasks.image_classification.network import Classifier, State


class Merging:
    """Brings what was learnt into the weights of a copy of the network, on the CPU, while training goes on."""

    def __init__(self, adapted: nn.Module) -> None:
        self._copy: Any = copy.deepcopy(adapted).to("cpu").eval().requires_grad_(requires_grad=False)

    def merged(self, weights: State) -> State:
        """The state of the whole network, by its names without a LoRA. weights: as the trainer has them."""
        copied = copy.deepcopy(self._copy)
        copied.load_state_dict({name.removeprefix("network."): value for name, value in weights.items()}, strict=False)
        return copied.merge_and_unload().state_dict()


def attach(module: Classifier, config: Config) -> Merging:
    """Freeze the network and give its linear layers, or where it has none its convolutions, a LoRA of [lora]."""
    settings, head = config.lora, head_of(module.network)
    torch.manual_seed(data_order.derive(config.train.seed, "adapter", 0))
    described = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.lora_alpha,  # pyright: ignore[reportArgumentType]  # PEFT divides it by the rank
        lora_dropout=settings.dropout,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        target_modules=targets(module.network, head),
        modules_to_save=[head],
    )
    module.network = get_peft_model(module.network, described)
    return Merging(module.network)


def head_of(network: Any) -> str:
    """The part that names the classes: that of the last linear layer with so many outputs."""
    count = network.config.num_labels
    last = [
        name for name, part in network.named_modules() if isinstance(part, nn.Linear) and part.out_features == count
    ]
    return last[-1].partition(".")[0]


def targets(network: nn.Module, head: str) -> list[str]:
    """Whole names of the layers that get a LoRA."""
    layers = [(name, part) for name, part in network.named_modules() if name.partition(".")[0] != head]
    linear = [name for name, part in layers if isinstance(part, nn.Linear)]
    return linear or [name for name, part in layers if isinstance(part, nn.Conv2d) and part.groups == 1]
