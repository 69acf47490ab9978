"""The loss of a prediction, for any objective: the distance, masks, and weights of pictures and timesteps.

Shapes: B batch, C latent channels, H W latent height and width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from shared.config.schema import TrainConfig


def distance(model_pred_BCHW: Tensor, target_BCHW: Tensor, loss_type: str, huber_c: float) -> Tensor:
    """The distance between prediction and target, elementwise, in fp32. (B, C, H, W).

    `l2` is the squared error. `huber` is the pseudo-Huber distance 2c(√(e² + c²) − c): e² for e ≪ c, 2c|e| for e ≫ c;
    `smooth_l1` is huber / c: e²/c, then 2|e|. Both are scaled as in kohya and diffusers (Khrapov et al. 2024,
    "Improving Diffusion Models's Data-Corruption Resistance using Scheduled Pseudo-Huber Loss"), with constant c.
    """
    squared_BCHW = F.mse_loss(model_pred_BCHW.float(), target_BCHW.float(), reduction="none")
    if loss_type == "l2":
        return squared_BCHW
    rounded_BCHW = 2 * (torch.sqrt(squared_BCHW + huber_c**2) - huber_c)
    return rounded_BCHW * huber_c if loss_type == "huber" else rounded_BCHW


def mean_loss(
    model_pred_BCHW: Tensor,
    target_BCHW: Tensor,
    settings: TrainConfig,
    timestep_weights_B: Tensor | None = None,
    weights_B: Tensor | None = None,
    masks_BHW: Tensor | None = None,
) -> Tensor:
    """The mean distance, weighted. A scalar.

    timestep_weights_B: the objective's weights of timesteps. weights_B: further weights of pictures. masks_BHW: weights
    of locations, 0…1, at least `unmasked_weight`. All of them multiply, and the mean is still over all pictures and
    locations: what counts has the same gradient as without a mask, and a small masked part weighs less than a picture.
    """
    distance_BCHW = distance(model_pred_BCHW, target_BCHW, settings.loss_type, settings.huber_c)
    if masks_BHW is not None:
        distance_BCHW = distance_BCHW * masks_BHW.clamp(min=settings.unmasked_weight).unsqueeze(1)
    distance_B = distance_BCHW.mean(dim=(1, 2, 3))
    if weights_B is not None:
        distance_B = distance_B * weights_B
    if timestep_weights_B is not None:
        distance_B = distance_B * timestep_weights_B
    return distance_B.mean()
