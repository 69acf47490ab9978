"""A few real digits as a folder for each class, and a run of a very small network on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tasks
from shared.config.loading import parse_config
from shared.config.schema import Config
from tasks.image_classification.digits import pictures

ARCH = {"hidden_sizes": [8, 8, 16, 16], "embedding_size": 8, "depths": [1, 1, 1, 1]}
CLASSES, EACH = ("0", "1", "2"), 16


def write(folder: Path) -> Path:
    """48 pictures of three digits."""
    whole = folder / "whole"
    pictures.write(whole)
    for name in CLASSES:
        (folder / "few" / name).mkdir(parents=True)
        for file in sorted((whole / name).iterdir())[:EACH]:
            file.rename(folder / "few" / name / file.name)
    return folder / "few"


def config(output_dir: Path, place: Path, **sections: Mapping[str, Any]) -> Config:
    """Settings small enough for a second on one core; `sections` override them."""
    tree: dict[str, dict[str, Any]] = {
        "run": {"name": "run", "output_dir": str(output_dir), "task": "image_classification"},
        "data": {"path": str(place), "num_validation": 13},
        "image_classification": {"arch_args": ARCH, "img_size": 16, "random_crop": 0.8},
        "train": {
            "max_train_steps": 6,
            "train_batch_size": 6,
            "optimizer": "sgd",
            "optimizer_args": {"momentum": 0.9},
            "learning_rate": 0.1,
            "lr_scheduler": "constant",
            "snapshot_steps": 3,
            "checkpointing_steps": 3,
            "validation_steps": 3,
        },
        "evaluation": {"num_prompts": 8, "confirm_prompts": 5, "rescan_seconds": 0.5, "batch_size": 4},
    }
    for section, values in sections.items():
        tree.setdefault(section, {}).update(values)
    return parse_config(tree, settings_of=tasks.settings)
