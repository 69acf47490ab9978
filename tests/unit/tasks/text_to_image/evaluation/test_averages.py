"""The average of snapshots, as a file of their rank."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from shared.config.schema import LoraConfig
from shared.errors import ModelError
from tasks.text_to_image.evaluation import averaged_file, snapshot_file
from tasks.text_to_image.evaluation.image_generator import ImageGenerator
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import lora, weights_file
from tasks.text_to_image.lora.average import average
from tests.unit.tasks.text_to_image.evaluation.conftest import LORA, SETTINGS, SnapshotMaker, rewrite
from tests.unit.tasks.text_to_image.evaluation.test_strength import DORA, drawn, trained

Scales = dict[str, float]


def product(state: lora.State, module: str) -> torch.Tensor:
    up, down = (state[f"{module}.lora_{side}.weight"].flatten(1).double() for side in ("B", "A"))
    return up @ down


def states_of(rank: int, count: int, shape: tuple[int, ...] = (12, 5, 3, 3), near: float = 0.0) -> list[lora.State]:
    """LoRAs of one convolution and one layer; near: how little they differ from one another, 0…1."""
    generator = torch.Generator().manual_seed(0)

    def made(shape: Sequence[int]) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    out, inside, *kernel = shape
    shapes = {
        "unet.conv.lora_A.weight": (rank, inside, *kernel),
        "unet.conv.lora_B.weight": (out, rank, 1, 1),
        "unet.layer.lora_A.weight": (rank, 7),
        "unet.layer.lora_B.weight": (9, rank),
    }
    first = {key: made(shape) for key, shape in shapes.items()}
    return [{key: near * first[key] + (1 - near) * made(shape) for key, shape in shapes.items()} for _ in range(count)]


def relative_error(found: lora.State, states: Sequence[lora.State], scales: Scales) -> float:
    exact = {module: sum(product(state, module) for state in states) / len(states) for module in scales}
    missed = sum(float((scales[it] * (product(found, it) - exact[it])).square().sum()) for it in scales)
    return (missed / sum(float((scales[it] * exact[it]).square().sum()) for it in scales)) ** 0.5


def test_the_average_of_products_has_the_stated_loss_and_the_keys_and_shapes_of_one() -> None:
    states, scales = states_of(2, 3, near=0.8), {"unet.conv": 2.0, "unet.layer": 0.5}
    found = average(states, [scales] * 3)
    assert 0 < found.loss < 0.7
    assert relative_error(found.weights, states, scales) == pytest.approx(found.loss, rel=1e-4)
    assert {key: value.shape for key, value in found.weights.items()} == {
        key: value.shape for key, value in states[0].items()
    }


def test_no_other_file_of_this_rank_is_nearer() -> None:
    """Averages of A and of B, multiplied, are not the average of the products."""
    states, scales = states_of(2, 2, near=0.8), {"unet.conv": 1.0, "unet.layer": 1.0}
    naive = {key: (states[0][key] + states[1][key]) / 2 for key in states[0]}
    assert relative_error(naive, states, scales) > 1.01 * average(states, [scales] * 2).loss


def test_the_average_of_a_snapshot_with_itself_is_itself() -> None:
    (state,), scales = states_of(2, 1), {"unet.conv": 1.0, "unet.layer": 1.0}
    found = average([state, state], [scales] * 2)
    assert found.loss == pytest.approx(0, abs=1e-5)
    for module in scales:
        assert torch.allclose(product(found.weights, module), product(state, module), atol=1e-4)


def test_files_of_another_scale_are_averaged_by_what_they_add() -> None:
    states, scales = states_of(4, 2, shape=(2, 2, 1, 1)), [{"unet.conv": 1.0}, {"unet.conv": 3.0}]
    conv = [{key: value for key, value in state.items() if "conv" in key} for state in states]
    found = average(conv, scales)  # the weight is smaller than the rank: nothing is cut off
    exact = (product(conv[0], "unet.conv") + 3 * product(conv[1], "unet.conv")) / 2
    assert torch.allclose(product(found.weights, "unet.conv"), exact, atol=1e-4)
    assert found.loss == pytest.approx(0, abs=1e-5)


def test_adapters_that_are_no_products_have_no_average() -> None:
    with pytest.raises(ModelError, match="DoRAs have no average"):
        average([{"unet.x.lora_magnitude_vector": torch.ones(2)}], [{}])
    with pytest.raises(ModelError, match=r"only plain LoRAs have an average, and the snapshots hold unet\.x\.lokr_w1"):
        average([{"unet.x.lokr_w1": torch.ones(2)}], [{}])


class Run:
    """Where snapshots lie, and what they are counted in."""

    def __init__(self, folders: dict[int, Path]) -> None:
        self.snapshot = folders.__getitem__

    def read_record(self) -> SimpleNamespace:
        return SimpleNamespace(unit="step")


def test_the_file_draws_what_the_exact_average_draws_up_to_the_truncation(
    loaded: Model, image_generator: ImageGenerator, make_snapshot: SnapshotMaker, tmp_path: Path
) -> None:
    """The exact average is added to the base model's weights, without any LoRA."""
    expected, learnt = image_generator.expected, dict[str, torch.Tensor]()

    def gently(path: Path) -> None:
        """Random weights move the tiny model so far that a little more changes everything."""
        rewrite(path, lambda tensors, _: learnt.update({key: 0.3 * value for key, value in tensors.items()}))
        rewrite(path, lambda tensors, _: tensors.update(learnt))

    def stay_near(path: Path) -> None:
        rewrite(path, lambda tensors, _: tensors.update({key: learnt[key] + 0.15 * tensors[key] for key in learnt}))

    folders = {2: make_snapshot(2, seed=2, edit=gently), 4: make_snapshot(4, seed=4, edit=stay_near)}
    files = [snapshot_file.read(folder, expected, LORA) for folder in folders.values()]
    facts = averaged_file.write(Run(folders), [2, 4], expected, LORA, tmp_path)  # type: ignore[arg-type]
    weights, header = weights_file.read(tmp_path / lora.LORA_FILE)
    assert 0.02 < facts["truncation"] < 0.2
    assert "average of the snapshots of steps 2, 4" in header["modelspec.description"]

    def patched(factors: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        model = copy.deepcopy(loaded)
        for module, update in factors.items():
            weight = model.denoiser.get_submodule(module.removeprefix("unet.")).weight
            weight.data += update.reshape(weight.shape).float()
        return drawn(ImageGenerator(model, LORA, SETTINGS, resolution=32))

    scales = files[0].scales
    exact = {it: scales[it] * (product(files[0].weights, it) + product(files[1].weights, it)) / 2 for it in scales}
    held = {it: scales[it] * product(weights, it) for it in scales}
    missed = sum(float((exact[it] - held[it]).square().sum()) for it in scales)
    assert (missed / sum(float(it.square().sum()) for it in exact.values())) ** 0.5 == pytest.approx(
        facts["truncation"], abs=1e-4
    )
    target = tmp_path / "published"
    target.mkdir()
    (tmp_path / lora.LORA_FILE).rename(target / lora.LORA_FILE)
    image_generator.swap(snapshot_file.AdapterFile(target, "", weights, scales))
    pictures, base = drawn(image_generator), patched({})

    def distance(others: list[torch.Tensor]) -> float:
        return sum(float((a - b).square().sum()) for a, b in zip(pictures, others, strict=True)) ** 0.5

    rounding = distance(patched(held))
    assert rounding < 0.05 * distance(base), "a level of 255 in half of the pixels"
    assert distance(patched(exact)) < rounding + 5 * facts["truncation"] * distance(base), "as far as what was cut off"


def test_a_run_of_doras_says_why_it_has_no_average(loaded: Model, tmp_path: Path) -> None:
    snapshots = {seed: trained(loaded, DORA, tmp_path, seed) for seed in (1, 2)}
    folders = {seed: snapshot.folder for seed, snapshot in snapshots.items()}
    expected, settings = snapshots[1].image_generator.expected, LoraConfig.model_validate(DORA.model_dump())
    with pytest.raises(ModelError, match="DoRAs have no average"):
        averaged_file.write(Run(folders), [1, 2], expected, settings, tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
