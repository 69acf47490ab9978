"""`python -m tasks.text_to_image.weights.count_shapes < config.json`: the weights of a denoiser, as JSON.

Name → shape. Nothing is allocated. A program of its own, because the callers do not import torch.
"""

from __future__ import annotations

import json
import sys

import torch

from tasks.text_to_image.weights.whole_denoiser import of_config

if __name__ == "__main__":
    with torch.device("meta"):
        weights = of_config(json.load(sys.stdin)).state_dict()
    json.dump({name: list(value.shape) for name, value in weights.items()}, sys.stdout)
