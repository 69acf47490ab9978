"""The learning rate of each of an adapter's parameters."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from shared.config.schema import TrainConfig
from tasks.protocol import ParameterGroup

Parameters = list[nn.Parameter]


def parameter_groups(
    denoiser: Parameters, text_encoders: Parameters, settings: TrainConfig, up: Iterable[nn.Parameter] = ()
) -> list[ParameterGroup]:
    """The denoiser's first, at train.learning_rate, then the text encoders'.

    up: the B matrices among them, which train.lora_plus_ratio puts into further groups.
    """
    denoiser_rate, ratio, up_ids = settings.learning_rate, settings.lora_plus_ratio, {id(value) for value in up}
    encoder_rate = settings.text_encoder_learning_rate or denoiser_rate
    groups: list[ParameterGroup] = []
    for parameters, rate in ((denoiser, denoiser_rate), (text_encoders, encoder_rate)):
        if ratio is None:
            groups.append(ParameterGroup(parameters, rate))
        else:
            groups.append(ParameterGroup([value for value in parameters if id(value) not in up_ids], rate))
            groups.append(ParameterGroup([value for value in parameters if id(value) in up_ids], rate * ratio))
    return [group for group in groups if group.parameters]
