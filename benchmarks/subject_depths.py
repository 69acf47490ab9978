"""What `subject_loss` sees of a finished run, by depth of EfficientNet: `python benchmarks/subject_depths.py RUN`.

Each line is a set of pictures against the run's training pictures: those of every snapshot, then the training pictures
themselves, blurred. The columns are the loss of all depths together, which is `subject_loss`, and of each alone. Reads
the run's pictures and data set; nothing is drawn and nothing is written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shared.run_folder.run_dir import open_run, steps_in
from tasks.text_to_image.encoders.efficientnet_lite0 import network

BLURS = (0, 1, 2, 3)
"""Standard deviations, pixels of the picture."""
Array = NDArray[np.float64]


def seen(pictures: Sequence[Image.Image]) -> list[Array]:
    """For each depth (N, D), rows of length one. The pictures are square."""
    net = network.load_network("cpu")
    edge = (network.EDGE, network.EDGE)
    rgb_NHWC = np.stack([np.asarray(one.resize(edge, Image.Resampling.BICUBIC)) for one in pictures]) / 255.0
    pixels = torch.from_numpy((rgb_NHWC - network.MEAN) / network.STD).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        maps = net.maps(pixels, network.DEPTHS)
    pooled = [one.mean(dim=(2, 3)).double().numpy() for one in maps]
    return [one / np.linalg.norm(one, axis=1, keepdims=True) for one in pooled]


def loss(samples_SD: Array, training_ND: Array) -> float:
    """As the metric computes it: no similarity counts beyond that of a training picture to the nearest other one."""
    among_NN = training_ND @ training_ND.T
    nearest_real = np.where(np.eye(len(among_NN), dtype=bool), -1.0, among_NN).max(axis=1).mean()
    counted_SN = np.minimum(samples_SD @ training_ND.T, nearest_real)
    return 1 - float((counted_SN.mean(axis=1) + counted_SN.max(axis=1)).mean()) / 2


def main() -> None:
    """Print a Markdown table."""
    run = open_run(Path(sys.argv[1]))
    record, paths = run.read_record().dataset, run.read_inventory().paths
    training = [
        Image.open(Path(record.path) / path).convert("RGB")
        for name, path in sorted(paths.items())
        if name not in record.kept_away
    ]
    known = seen(training)
    sets = {
        f"step {step}": [
            Image.open(path).convert("RGB") for path in sorted((run.evaluation(step) / "images").iterdir())
        ]
        for step in sorted(steps_in(run.evaluations))
    }
    sets |= {
        f"training pictures, blurred by {pixels}": [one.filter(ImageFilter.GaussianBlur(pixels)) for one in training]
        for pixels in BLURS
    }
    print("| pictures | `subject_loss` |", " | ".join(f"block {depth}" for depth in network.DEPTHS), "|")
    print("| --- |" + " --- |" * (1 + len(network.DEPTHS)))
    for name, pictures in sets.items():
        of_depths = seen(pictures)
        together = [np.concatenate(one, axis=1) / 2 for one in (of_depths, known)]  # four rows of length one
        losses = [loss(together[0], together[1]), *(loss(*one) for one in zip(of_depths, known, strict=True))]
        print(f"| {name} |", " | ".join(f"{one:.3f}" for one in losses), "|")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
