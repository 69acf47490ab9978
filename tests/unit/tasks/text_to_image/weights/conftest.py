"""A trainer's learner on the tiny Z-Image, for settings that say how its frozen weights are held."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from shared.files.publication import publish
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.lora.lora import LORA_FILE
from tasks.text_to_image.training.preparation import prepare
from tests.conftest import create_run, tiny_config
from trainer.checkpoint import Checkpoint
from trainer.learner import Learner

TRAIN: dict[str, object] = {
    "max_train_steps": 4,
    "learning_rate": 0.05,
    "validation_steps": 2,
    "gradient_checkpointing": True,
}


class Run:
    """A run of its own with these settings of the model."""

    def __init__(self, output: Path, model: Path, pictures: Path, settings: dict[str, object]) -> None:
        sections: dict[str, dict[str, object]] = {
            "model": settings,
            "lora": {"rank": 2, "lora_alpha": 4, "dropout": 0.1},
            "train": TRAIN,
            "evaluation": {"scheduler": "own"},
        }
        self.run: RunDir = create_run(tiny_config(output, "run", model, pictures, sections))
        config = self.run.read_config()
        accelerator = Accelerator(cpu=True)
        self.training = prepare(self.run, config, accelerator, lambda done, total: None, begins=True)
        self.learner = Learner(config, accelerator, self.training)
        self.losses: list[float] = []

    def step(self) -> Checkpoint:
        """One update, the held-out losses, and all that a checkpoint holds."""
        self.losses.append(self.learner.update().loss)
        held_out = self.learner.validate(lambda done, total: None)
        assert held_out
        self.losses += held_out.held_out.values()
        return self.learner.checkpoint()

    def file(self, folder: Path) -> dict[str, torch.Tensor]:
        """The LoRA that it would publish."""
        folder.mkdir()
        self.training.write(folder, self.learner.weights(), self.learner.step)
        return load_file(folder / LORA_FILE)

    def publish(self) -> Path:
        """The snapshot of the present step."""
        step = self.learner.step
        manifest = Manifest(kind="snapshot", run_id=self.run.read_record().run_id, step=step)
        weights = self.learner.weights()
        publish(self.run.staging, self.run.snapshot(step), manifest, lambda to: self.training.write(to, weights, step))
        return self.run.snapshot(step)


class Runs(Protocol):
    """Makes a run with these settings of the model."""

    def __call__(self, **settings: object) -> Run: ...


@pytest.fixture(scope="session")
def z_image(tiny_flow: Callable[[str], Path]) -> Path:
    """Its folder."""
    return tiny_flow("z-image")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, z_image: Path, pictures: Path) -> Runs:
    """Each in a folder of its own."""

    def make(**settings: object) -> Run:
        return Run(tmp_path_factory.mktemp("run"), z_image, pictures, settings)

    return make


def assert_equal(one: Any, other: Any) -> None:
    """Tensors bit for bit, however deep they lie."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list):
        for first, second in zip(one, other, strict=True):
            assert_equal(first, second)
    else:
        assert one == other
