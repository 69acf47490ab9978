"""Which of an adapter's parameters learn at which rate."""

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
    rate, ratio, ups = settings.learning_rate, settings.lora_plus_ratio, {id(value) for value in up}
    found: list[ParameterGroup] = []
    for parameters, own in ((denoiser, rate), (text_encoders, settings.text_encoder_learning_rate or rate)):
        if ratio is None:
            found.append(ParameterGroup(parameters, own))
        else:
            found.append(ParameterGroup([value for value in parameters if id(value) not in ups], own))
            found.append(ParameterGroup([value for value in parameters if id(value) in ups], own * ratio))
    return [group for group in found if group.parameters]
