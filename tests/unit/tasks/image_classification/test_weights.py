"""Weights to begin from: files of tensors, folders of transformers, and what is refused."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections import OrderedDict
from contextlib import nullcontext
from pathlib import Path

import numpy
import pytest
import torch

from shared.config.schema import Config
from shared.errors import ModelError
from tasks.image_classification import network
from tasks.image_classification.models import architectures, weights
from tasks.image_classification.settings import Settings
from tests import few_digits

CLASSES = ("0", "1", "2")


def config(folder: Path, path: Path, **own: object) -> Config:
    given = {"arch_args": few_digits.ARCH, "img_size": 16, **own}
    return few_digits.config(folder / "runs", folder, model={"path": str(path)}, image_classification=given)


def fresh(folder: Path, seed: int) -> network.Classifier:
    return network.fresh(few_digits.config(folder / "runs", folder, train={"seed": seed}), CLASSES, {})


def test_a_pth_of_plain_tensors_is_converted_once_and_its_own_classes_are_replaced(tmp_path: Path) -> None:
    other = fresh(tmp_path, 5).network.state_dict()
    state = {f"module.{name}": value for name, value in other.items()}
    state["module.classifier.1.weight"], state["module.classifier.1.bias"] = torch.ones(7, 16), torch.ones(7)
    file = tmp_path / "net.pth"
    torch.save({"model": state, "epoch": 3}, file)
    begun = config(tmp_path, file)
    weights.require(begun)
    first = network.fresh(begun, CLASSES, weights.identify(begun)).network.state_dict()
    for name, value in first.items():
        assert torch.equal(value, other[name]) is not name.startswith("classifier"), name
    kept = list((tmp_path / "runs" / ".cache" / "weights").iterdir())
    assert [one.suffix for one in kept] == [".safetensors"]
    file.write_bytes(file.read_bytes() + b"x")  # no longer readable
    again = network.fresh(begun, CLASSES, {"fingerprint": kept[0].stem}).network.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("hacked",)


def test_a_pth_with_anything_else_is_refused_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.zeros(1), "more": Hostile()}, tmp_path / "net.pth")
    with pytest.raises(ModelError, match="cannot be read as a file of tensors") as caught:
        network.fresh(config(tmp_path, tmp_path / "net.pth"), CLASSES, {})
    assert "\x1b" not in str(caught.value)
    assert not (tmp_path / "hacked").exists()


def test_a_whole_network_or_a_trainer_in_a_pth_is_refused_before_a_run_is_made(tmp_path: Path) -> None:
    file = tmp_path / "net.pth"
    for content, named in (
        ({"more": Hostile()}, r"\w+\.mkdir"),
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    ):
        torch.save(content, file)
        with pytest.raises(ModelError, match=f"holds more than tensors: {named}"):
            weights.require(config(tmp_path, file))
    plain = {"state": OrderedDict(a=torch.zeros(1, dtype=torch.bfloat16)), "epoch": 3, "loss": numpy.float64(0.5)}
    torch.save(plain, file)
    weights.require(config(tmp_path, file))
    file.write_bytes(b"no zip")
    weights.require(config(tmp_path, file))  # torch says why it cannot be read


@pytest.mark.parametrize(
    ("torch_is", "torchvision_is", "fits"),
    [("2.13.0+cpu", "0.28.0", False), ("2.13.0+cpu", "0.28.0+cpu", True), ("2.13.0", "0.28.0", True)],
)
def test_a_torchvision_for_cuda_beside_a_torch_without_is_refused_before_anything_imports_it(
    torch_is: str, torchvision_is: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {"torch": torch_is, "torchvision": torchvision_is}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(importlib.metadata, "version", versions.__getitem__)
    with nullcontext() if fits else pytest.raises(ModelError, match=r"torchvision 0\.28\.0 is made for CUDA"):
        assert architectures.of(Settings(arch="timm/resnet10t")).kind == "timm_wrapper"


def test_weights_of_another_network_are_refused_by_the_first_tensor_that_does_not_fit(tmp_path: Path) -> None:
    torch.save(fresh(tmp_path, 5).network.state_dict(), tmp_path / "net.pth")
    wider = {**few_digits.ARCH, "hidden_sizes": [8, 8, 16, 32]}
    with pytest.raises(ModelError, match=r"does not fit the network: \d+ of \d+ tensors"):
        network.fresh(config(tmp_path, tmp_path / "net.pth", arch_args=wider), CLASSES, {})


def test_a_snapshots_folder_can_be_begun_from_and_a_folder_without_a_classifier_cannot(tmp_path: Path) -> None:
    one = fresh(tmp_path, 5).network
    (tmp_path / "net").mkdir()
    state = {name: value.clone() for name, value in one.state_dict().items()}
    network.save(tmp_path / "net", network.described(one), state, 16, network.Normalization((0.5,) * 3, (0.5,) * 3))
    begun = config(tmp_path, tmp_path / "net", arch_args={})
    weights.require(begun)
    found = network.fresh(begun, CLASSES, {}).network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in found.items())
    assert network.normalization(begun).mean == (0.5, 0.5, 0.5)
    more = network.fresh(begun, (*CLASSES, "3"), {}).network
    assert len(more.state_dict()["classifier.1.weight"]) == 4
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"holds no config\.json of transformers"):
        weights.require(config(tmp_path, tmp_path / "empty", arch_args={}))
    with pytest.raises(ModelError, match="neither a folder nor a file of tensors"):
        weights.require(config(tmp_path, tmp_path / "nowhere at all", arch_args={}))


def test_a_folder_whose_weights_are_cut_off_is_refused_with_a_cure(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    fresh(tmp_path, 5).network.save_pretrained(folder)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ModelError, match="cannot be loaded") as told:
        network.fresh(config(tmp_path, folder), CLASSES, {})
    assert "hf download" in told.value.hint
