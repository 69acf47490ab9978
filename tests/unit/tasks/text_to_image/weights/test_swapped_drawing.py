"""The evaluator beside a large base: blocks that wait in the host's memory draw the same pictures, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from shared.config.loading import parse_config
from shared.config.resume_rule import CHANGEABLE
from shared.config.schema import RULES, Config, EvaluationConfig, LoraConfig, ModelConfig
from shared.errors import ConfigError, ModelError
from tasks.text_to_image.evaluation import snapshot_file
from tasks.text_to_image.evaluation.image_generator import ImageGenerator, Job
from tasks.text_to_image.evaluation.snapshot_file import AdapterFile
from tasks.text_to_image.families import loading
from tasks.text_to_image.lora.lora import MAGNITUDE
from tasks.text_to_image.models import memory, precheck
from tests.conftest import tiny_config
from tests.true_shapes import true_shapes
from tests.unit.tasks.text_to_image.weights.conftest import TRAIN, Run, Runs

JOBS = [Job("a", "a red dress", 1, (32, 32), 0), Job("b", "a long blue coat", 2, (32, 32), 0)]
LORA = LoraConfig(rank=2, lora_alpha=4)


@pytest.fixture(scope="module")
def trained(runs: Runs) -> Run:
    run = runs()
    for _ in range(2):
        run.step()
        run.publish()
    return run


@pytest.fixture(scope="module")
def drawing(z_image: Path) -> Callable[[int], ImageGenerator]:
    """An evaluator's generator that swaps so many blocks."""

    def generator(blocks_to_swap: int) -> ImageGenerator:
        settings = EvaluationConfig(
            scheduler="own", num_inference_steps=2, batch_size=2, guidance_scale=4.0, blocks_to_swap=blocks_to_swap
        )
        model = loading.load_model(ModelConfig(path=str(z_image)), "fp32")
        model.sample_with("own")
        found = ImageGenerator(model, LORA, settings, resolution=32)
        found.move_to(torch.device("cpu"))
        return found

    return generator


def pictures(generator: ImageGenerator, run: Run) -> list[bytes]:
    """Of the base, of both snapshots, of one at another strength, and of the base again."""
    steps = [None, 1, 2, 1, None]
    files = [
        None if step is None else snapshot_file.read(run.run.snapshot(step), generator.expected, LORA) for step in steps
    ]
    drawn: list[bytes] = []
    for number, file in enumerate(files):
        generator.swap(file, 0.5 if number == 3 else 1.0)
        drawn += [picture.tobytes() for batch in generator.draw(JOBS) for picture in batch]
    return drawn


@pytest.mark.parametrize("blocks_to_swap", [1, 4])
def test_pictures_of_base_and_snapshots_are_those_of_the_resident_model(
    blocks_to_swap: int, drawing: Callable[[int], ImageGenerator], trained: Run
) -> None:
    swapped, resident = drawing(blocks_to_swap), drawing(0)
    whole = pictures(resident, trained)
    assert len(set(whole)) == 8, "two of the base, drawn twice, and six of snapshots"
    assert pictures(swapped, trained) == whole
    assert swapped.describe()["blocks_to_swap"] == blocks_to_swap
    assert RULES["evaluation.blocks_to_swap"] in CHANGEABLE


def test_a_dora_is_refused_while_blocks_are_swapped(drawing: Callable[[int], ImageGenerator], tmp_path: Path) -> None:
    dora = AdapterFile(tmp_path, "", {f"transformer.layers.0.attention.to_q.{MAGNITUDE}": torch.ones(2)}, {})
    with pytest.raises(ModelError, match="is a DoRA") as raised:
        drawing(2).swap(dora)
    assert "evaluation.blocks_to_swap = 0" in raised.value.hint


def config(**evaluation: object) -> Config:
    return parse_config({"data": {"path": "pictures"}, "evaluation": {"scheduler": "own", **evaluation}})


def test_what_looks_at_all_weights_is_refused_with_every_reason(tmp_path: Path, z_image: Path, pictures: Path) -> None:
    tree = {
        "data": {"path": "pictures"},
        "lora": {"use_dora": True},
        "evaluation": {"blocks_to_swap": 2, "torch_compile": True},
    }
    with pytest.raises(ConfigError, match=r"does not go with evaluation.torch_compile and lora.use_dora"):
        parse_config(tree)
    settings: dict[str, dict[str, object]] = {"evaluation": {"blocks_to_swap": 5}, "train": TRAIN}
    with pytest.raises(ConfigError, match=r"evaluation.blocks_to_swap is 5, but the denoiser has 4 blocks"):
        precheck.examine(tiny_config(tmp_path, "run", z_image, pictures, settings))


def test_the_estimate_holds_three_of_the_swapped_blocks() -> None:
    shapes = true_shapes("z-image")

    def base(count: int) -> float:
        footprint = memory.evaluator_footprint(shapes, config(blocks_to_swap=count), "bf16", on_gpu=True)
        return footprint.parts["base model"]

    block = sum(shape.count for shape in memory.blocks(shapes)[10].values()) * 2
    assert base(0) - base(34) == pytest.approx(31 * block, rel=0.01)
