"""The network that learns, as it is before the first step."""

from __future__ import annotations

import torch
from torch import nn

from shared.config.schema import Config
from tasks import data_order

WEIGHTS_FILE = "line.safetensors"


def fresh(config: Config) -> nn.Linear:
    torch.manual_seed(data_order.derive(config.train.seed, "line", 0))
    return nn.Linear(1, 1)
