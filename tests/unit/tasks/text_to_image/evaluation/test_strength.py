"""A LoRA at another strength: the same as in the programs that people draw with."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from shared.config.schema import LoraConfig
from shared.files.publication import publish
from shared.run_folder.records.manifest import Manifest
from tasks.text_to_image.evaluation import snapshot_file
from tasks.text_to_image.evaluation.image_generator import ImageGenerator, jobs
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import lora
from tests.unit.tasks.text_to_image.evaluation.conftest import SETTINGS, random_weights

PLAIN = LoraConfig(rank=2, lora_alpha=4)
WITH_TEXT_ENCODER = LoraConfig(rank=2, lora_alpha=4, text_encoder=True)
DORA = LoraConfig(rank=2, lora_alpha=4, use_dora=True)
STRENGTH = 0.7


@dataclass(frozen=True)
class Trained:
    """A snapshot, an image generator for it, and its values by module."""

    folder: Path
    image_generator: ImageGenerator
    file: snapshot_file.AdapterFile

    def draw(self, strength: float) -> list[torch.Tensor]:
        """Its pictures, 0…255."""
        self.image_generator.swap(self.file, strength)
        return drawn(self.image_generator)


def drawn(image_generator: ImageGenerator) -> list[torch.Tensor]:
    batches = image_generator.draw(jobs({"dress": "a red dress"}, {"dress": (32, 32)}, SETTINGS))
    return [torch.tensor(list(picture.tobytes())).float() for batch in batches for picture in batch]


def largest_difference(one: Iterable[torch.Tensor], other: Iterable[torch.Tensor]) -> float:
    return max(float((first - second).abs().max()) for first, second in zip(one, other, strict=True))


def trained(loaded: Model, settings: LoraConfig, folder: Path, seed: int = 1) -> Trained:
    model = copy.deepcopy(loaded)
    parts = lora.adapted(model, settings)
    lora.attach(parts, settings, model.family)
    weights, metadata = lora.state(parts), lora.metadata(parts)
    changed = {key: random_weights({key: value}, seed)[key] for key, value in weights.items()}
    # magnitudes stay near those of the weights, as training leaves them
    changed |= {key: 1.1 * value for key, value in weights.items() if lora.MAGNITUDE in key}
    target = folder / f"step-{seed:08d}"
    manifest = Manifest(kind="snapshot", run_id="r", step=seed)
    publish(folder / ".staging", target, manifest, lambda stage: lora.write(stage, changed, metadata))
    image_generator = ImageGenerator(copy.deepcopy(loaded), settings, SETTINGS, resolution=32)
    return Trained(target, image_generator, snapshot_file.read(target, image_generator.expected, settings))


def by_plain_diffusers(loaded: Model, folder: Path, strength: float) -> list[torch.Tensor]:
    """What any other program draws that loads the file and sets its weight."""
    fresh = ImageGenerator(copy.deepcopy(loaded), PLAIN, SETTINGS, resolution=32)
    fresh.pipeline.load_lora_weights(str(folder), adapter_name="mine")
    fresh.pipeline.set_adapters(["mine"], adapter_weights=[strength])
    return drawn(fresh)


@pytest.mark.parametrize("settings", [PLAIN, WITH_TEXT_ENCODER, DORA], ids=["plain", "text encoder", "DoRA"])
def test_a_strength_is_the_adapter_weight_of_diffusers_bit_for_bit(
    loaded: Model, tmp_path: Path, settings: LoraConfig
) -> None:
    snapshot = trained(loaded, settings, tmp_path)
    pictures = snapshot.draw(STRENGTH)
    assert largest_difference(pictures, by_plain_diffusers(loaded, snapshot.folder, STRENGTH)) == 0
    assert largest_difference(pictures, snapshot.draw(1.0)) > 0


@pytest.mark.parametrize("settings", [PLAIN, WITH_TEXT_ENCODER], ids=["plain", "text encoder"])
def test_a_strength_is_what_comfyui_adds_to_the_weights(loaded: Model, tmp_path: Path, settings: LoraConfig) -> None:
    """ComfyUI patches each weight once: W + strength · alpha / rank · B·A."""
    snapshot, patched = trained(loaded, settings, tmp_path), copy.deepcopy(loaded)
    for name, part in patched.parts.items():
        prefix = lora.prefix(name, part)
        for module in lora.modules(snapshot.file.weights):
            if module.startswith(prefix):
                weight = part.get_submodule(module.removeprefix(prefix)).weight
                down, up = (snapshot.file.weights[f"{module}.lora_{side}.weight"] for side in ("A", "B"))
                update = (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
                weight.data += STRENGTH * snapshot.file.scales[module] * update
    expected = drawn(ImageGenerator(patched, settings, SETTINGS, resolution=32))
    assert largest_difference(snapshot.draw(STRENGTH), expected) <= 1, "within the rounding of a pixel"


def test_with_dora_the_update_is_scaled_before_it_is_brought_to_the_learnt_magnitude(
    loaded: Model, tmp_path: Path
) -> None:
    snapshot = trained(loaded, DORA, tmp_path)
    snapshot.image_generator.swap(snapshot.file, STRENGTH)
    name, module = next(
        (name, module)
        for name, module in snapshot.image_generator.pipeline.unet.named_modules()
        if getattr(module, "lora_magnitude_vector", None) and module.weight.ndim == 2
    )
    key = f"unet.{name}"
    down, up = (snapshot.file.weights[f"{key}.lora_{side}.weight"] for side in ("A", "B"))
    magnitude = snapshot.file.weights[f"{key}.lora_magnitude_vector"]
    changed = module.weight + STRENGTH * snapshot.file.scales[key] * (up @ down)
    merged = magnitude[:, None] * changed / changed.norm(dim=1, keepdim=True)
    inputs = torch.randn(3, module.weight.shape[1], generator=torch.Generator().manual_seed(0))
    bias = 0 if module.bias is None else module.bias
    assert torch.allclose(module(inputs), inputs @ merged.T + bias, atol=1e-4)


def test_after_another_strength_the_next_snapshot_draws_at_its_full_one(loaded: Model, tmp_path: Path) -> None:
    first, second = (trained(loaded, PLAIN, tmp_path, seed) for seed in (1, 2))
    expected = second.draw(1.0)
    first.draw(STRENGTH)
    first.image_generator.swap(second.file)
    assert largest_difference(drawn(first.image_generator), expected) == 0
