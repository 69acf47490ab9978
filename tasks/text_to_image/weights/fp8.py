"""A frozen denoiser's weights in 8-bit floats (e4m3), by diffusers' layerwise casting: `quantization = "fp8"`.

A layer's weights are widened to the run's precision when it is called and narrowed again afterwards; nothing is
computed in 8 bits, so that any device can do it. A weight keeps three bits after its first (Micikevicius et al. 2022).
Norms, what modulates them, and embeddings keep their precision, as each model of diffusers says.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn


def cast_weights(denoiser: nn.Module, compute_dtype: torch.dtype) -> None:
    """Narrow the weights in place and have every layer widen its own. An attached adapter is left as it is.

    While it trains this saves memory only with checkpointing: without, the graph of the forward pass keeps every wide
    copy that it has multiplied by.
    """
    cast("Any", denoiser).enable_layerwise_casting(torch.float8_e4m3fn, compute_dtype)
