"""How many optimizer updates a number of passes over the training pictures is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shared.config.schema import Config
from shared.data.sources import Pair


def pass_length(training: Sequence[Pair], regularization: Sequence[Pair]) -> int:
    """Pictures of one pass: each training picture as often as its folder says, and as many of the class beside them."""
    return sum(pair.repeats for pair in training) * (2 if regularization else 1)


def resolved(config: Config, length: int) -> Config:
    """The settings with `train.max_train_steps` as `train.max_train_epochs` asks for; the last update is a whole one.

    length: of a pass, in pictures.
    """
    train = config.train
    if train.max_train_epochs is None:
        return config
    pictures = train.train_batch_size * train.gradient_accumulation_steps * train.num_processes
    steps = max(1, math.ceil(train.max_train_epochs * length / pictures - 1e-9))
    return config.model_copy(update={"train": train.model_copy(update={"max_train_steps": steps})})


def describe(config: Config, length: int) -> str:
    """What came of it, for a person; `config` is resolved."""
    return (
        f"train.max_train_epochs is {config.train.max_train_epochs:g}: {config.train.max_train_steps} steps, "
        f"at {length} examples a pass"
    )
