"""Files of other trainers on the resident pipeline: each of its own shape, none taken for what it is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from shared.errors import ModelError
from shared.files.publication import publish
from shared.run_folder.records.manifest import Manifest
from tasks.text_to_image.evaluation import snapshot_file
from tasks.text_to_image.evaluation.image_generator import ImageGenerator, jobs
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import lora
from tasks.text_to_image.lora.lora import ADAPTER
from tests.unit.tasks.text_to_image.evaluation.conftest import LORA, SETTINGS, Blueprint, SnapshotMaker, random_weights

Tensors = dict[str, torch.Tensor]
Maker = Callable[[Tensors], Path]
UNET = "lora_unet_mid_block_attentions_0_transformer_blocks_0"


@pytest.fixture
def generator(loaded: Model) -> ImageGenerator:
    """One for the files of another trainer, on the model that all tests share: each test leaves it bare."""
    return ImageGenerator(loaded, None, SETTINGS, resolution=32)


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Publishes a link to a file of these tensors."""

    def make(tensors: Tensors) -> Path:
        number = len(list(tmp_path.glob("*.safetensors"))) + 1
        file = tmp_path / f"dress-{number:06d}.safetensors"
        save_file(tensors, file)
        target = tmp_path / "snapshots" / f"step-{number:08d}"
        target.parent.mkdir(exist_ok=True)
        manifest = Manifest(kind="snapshot", run_id="r", step=number)
        assert publish(tmp_path / ".staging", target, manifest, lambda folder: (folder / file.name).symlink_to(file))
        return target

    return make


def module(name: str, rank: int, alpha: float, inputs: int, outputs: int, seed: int = 1) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{name}.lora_down.weight": torch.randn(rank, inputs, generator=generator),
        f"{name}.lora_up.weight": torch.randn(outputs, rank, generator=generator),
        f"{name}.alpha": torch.tensor(alpha),
    }


def of_kohya(weights: lora.State, alpha: float) -> Tensors:
    """The same update in kohya's form."""
    tensors: Tensors = {}
    for key, value in weights.items():
        name, _, half = key.partition(".lora_")
        name = "lora_unet_" + name.removeprefix("unet.").replace(".", "_")
        tensors[f"{name}.lora_{'down' if half.startswith('A') else 'up'}.weight"] = value
        tensors[f"{name}.alpha"] = torch.tensor(alpha)
    return tensors


def draw(generator: ImageGenerator) -> list[bytes]:
    wanted = jobs({"a": "a red dress"}, {"a": (32, 32)}, SETTINGS)
    return [picture.tobytes() for batch in generator.draw(wanted) for picture in batch]


def test_the_same_lora_in_kohyas_form_draws_the_same_picture_bit_for_bit(
    generator: ImageGenerator,
    image_generator: ImageGenerator,
    make: Maker,
    make_snapshot: SnapshotMaker,
    blueprint: Blueprint,
) -> None:
    image_generator.swap(snapshot_file.read(make_snapshot(seed=3), image_generator.expected, LORA))
    ours = draw(image_generator)
    generator.swap(
        snapshot_file.read(make(of_kohya(random_weights(blueprint.weights, 3), 4.0)), generator.expected, LORA)
    )
    theirs = draw(generator)
    generator.swap(None)
    assert theirs == ours
    assert draw(generator) != ours


def test_each_file_has_its_own_rank_alpha_and_modules_and_leaves_nothing_behind(
    generator: ImageGenerator, make: Maker
) -> None:
    base = draw(generator)
    small = make(module(f"{UNET}_attn1_to_q", 2, 1.0, 64, 64))
    large = make(
        module(f"{UNET}_attn1_to_q", 4, 4.0, 64, 64)
        | module(f"{UNET}_attn1_to_k", 8, 2.0, 64, 64)
        | module("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 2, 2.0, 32, 32, seed=2)
    )
    pictures: list[list[bytes]] = []
    for folder in (small, large, small):
        file = snapshot_file.read(folder, generator.expected, LORA)
        generator.swap(file)
        scalings = {
            name: part.scaling[ADAPTER]
            for name, part in generator.pipeline.unet.named_modules()
            if isinstance(getattr(part, "scaling", None), dict)
        }
        wanted = {f"unet.{name}": value for name, value in scalings.items()}
        assert wanted == {name: value for name, value in file.scales.items() if name.startswith("unet.")}
        pictures.append(draw(generator))
    generator.swap(None)
    assert pictures[0] == pictures[2]
    assert len({tuple(one) for one in (base, *pictures[:2])}) == 3
    assert draw(generator) == base


def test_files_of_one_shape_are_hot_swapped_and_others_loaded_anew(
    generator: ImageGenerator, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    swaps: list[bool] = []
    real = generator.pipeline.load_lora_weights
    monkeypatch.setattr(
        generator.pipeline,
        "load_lora_weights",
        lambda *arguments, hotswap, **options: (
            swaps.append(hotswap),
            real(*arguments, hotswap=hotswap, **options),
        ),
    )
    for rank, alpha, seed in ((2, 2.0, 1), (2, 1.0, 2), (4, 4.0, 3)):
        folder = make(module(f"{UNET}_attn1_to_q", rank, alpha, 64, 64, seed))
        generator.swap(snapshot_file.read(folder, generator.expected, LORA))
    monkeypatch.undo()
    generator.swap(None)
    assert swaps == [False, True, False]


FAULTS: dict[str, tuple[Tensors, str]] = {
    "SDXL": (
        module("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", 2, 2.0, 32, 32),
        "is a LoRA for SDXL, the base model is ",
    ),
    "another size": (module(f"{UNET}_attn1_to_q", 2, 2.0, 320, 320), "must have"),
    "unknown modules": (module("lora_unet_double_blocks_0_img_attn_qkv", 2, 2.0, 32, 32), "1 of its 1 modules are not"),
    "LoKr": ({f"{UNET}_attn1_to_q.lokr_w1": torch.ones(2, 2)}, "is a LoKr, which is not read"),
    "NaN": (module(f"{UNET}_attn1_to_q", 2, float("nan"), 64, 64), "not finite"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_does_not_fit_is_refused_with_its_reason(
    generator: ImageGenerator, make: Maker, fault: str
) -> None:
    tensors, reason = FAULTS[fault]
    with pytest.raises(ModelError) as refused:
        snapshot_file.read(make(tensors), generator.expected, LORA)
    assert reason in f"{refused.value} {refused.value.hint}"
    assert "dress-000001.safetensors" in str(refused.value)
    assert "/snapshots/" not in str(refused.value)
