"""The tiny model, resident, and snapshots made for it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from shared.config import schema
from shared.files.publication import publish
from shared.run_folder.records.manifest import Manifest
from tasks.text_to_image.evaluation.image_generator import ImageGenerator
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import lora

LORA = schema.LoraConfig(rank=2, lora_alpha=4)
SETTINGS = schema.EvaluationConfig(num_prompts=2, num_seeds=2, num_inference_steps=2, batch_size=3)

Tensors = dict[str, torch.Tensor]
Texts = dict[str, str]
SnapshotMaker = Callable[..., Path]


@dataclass(frozen=True)
class Blueprint:
    """What a good snapshot's file is made of."""

    weights: lora.State
    metadata: dict[str, object]


@pytest.fixture(scope="session")
def blueprint(tiny_model: Path) -> Blueprint:
    model = loading.load_model(schema.ModelConfig(path=str(tiny_model)), "fp32")
    parts = lora.adapted(model, LORA)
    lora.attach(parts, LORA, model.family)
    return Blueprint(lora.state(parts), lora.metadata(parts))


@pytest.fixture(scope="session")
def loaded(tiny_model: Path) -> Model:
    return loading.load_model(schema.ModelConfig(path=str(tiny_model)), "fp32")


@pytest.fixture
def image_generator(loaded: Model) -> ImageGenerator:
    """An image generator of its own for each test."""
    return ImageGenerator(copy.deepcopy(loaded), LORA, SETTINGS, resolution=32)


@pytest.fixture
def make_snapshot(tmp_path: Path, blueprint: Blueprint) -> SnapshotMaker:
    """Publishes a snapshot. seed: of its weights, None leaves B at zero; edit: changes the file before it is sealed."""

    def make(step: int = 2, seed: int | None = 0, edit: Callable[[Path], object] | None = None) -> Path:
        def write(folder: Path) -> None:
            lora.write(folder, random_weights(blueprint.weights, seed), blueprint.metadata)
            if edit:
                edit(folder / lora.LORA_FILE)

        target = tmp_path / "snapshots" / f"step-{step:08d}"
        target.parent.mkdir(exist_ok=True)
        assert publish(tmp_path / ".staging", target, Manifest(kind="snapshot", run_id="r", step=step), write)
        return target

    return make


def random_weights(weights: lora.State, seed: int | None) -> lora.State:
    """Weights of the same shapes, large enough to change every picture."""
    if seed is None:
        return weights
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.randn(value.shape, generator=generator) * 0.5 for key, value in weights.items()}


def rewrite(path: Path, change: Callable[[Tensors, Texts], object]) -> None:
    """Change tensors and metadata of a safetensors file."""
    from safetensors import safe_open  # noqa: PLC0415

    with safe_open(path, "pt") as file:
        tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata())  # noqa: SIM118
    change(tensors, metadata)
    path.unlink()
    save_file(tensors, path, metadata=metadata)
