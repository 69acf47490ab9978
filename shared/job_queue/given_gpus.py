"""Which GPUs a runner gives to jobs."""

from __future__ import annotations

import os

from shared.errors import ConfigError
from shared.machine.hardware import usable_gpus


def given_gpus(listed: str | None) -> tuple[str, ...]:
    """The names of the GPUs for jobs; none on a machine without.

    Raises:
        ConfigError: one is named twice, or is not a name.
    """
    if listed is None:
        there = os.environ.get("CUDA_VISIBLE_DEVICES")
        return tuple(filter(None, there.split(","))) if there else tuple(str(gpu.index) for gpu in usable_gpus())
    names = [name.strip() for name in listed.split(",")]
    if len({*names}) < len(names) or not all(names):
        raise ConfigError(f"--gpus is {listed!r}", "name each GPU once, with commas between: --gpus 0,1")
    return tuple(names)
