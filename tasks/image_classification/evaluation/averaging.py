"""The average of snapshots: the mean of their weights (Izmailov et al. 2018), running statistics included."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tasks.image_classification.models import weights
from tasks.image_classification.network import PREPROCESSOR


def average(snapshots: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Fill a folder like a snapshot's; there are no facts for its manifest, for nothing is cut off.

    The running statistics of layers that normalise over a batch are the means of the snapshots', not those that the
    averaged weights would have: over neighbouring snapshots the two are close.
    """
    states = [load_file(snapshot / weights.WEIGHTS) for snapshot in snapshots]
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(value.dtype)
        for name, value in states[0].items()
    }
    save_file(mean, folder / weights.WEIGHTS, {"format": "pt"})
    for name in (weights.CONFIG, PREPROCESSOR):
        shutil.copyfile(snapshots[0] / name, folder / name)
    return {}
