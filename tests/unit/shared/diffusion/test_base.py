"""Loading a base model: the wrong ones are refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shared.config import ModelConfig
from shared.diffusion import base
from shared.errors import DeviceError, ModelError
from tests.conftest import paper_model


def test_a_folder_without_weights_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot load") as caught:
        base.load_model(ModelConfig(path=str(paper_model(tmp_path / "model"))), "fp32")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x80\x04 a pickle in disguise")
    with pytest.raises(ModelError, match=r"is not a whole \.safetensors file"):
        base.load_model(ModelConfig(path=str(path)), "fp32")


def test_a_device_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert base.choose_device("cuda") == torch.device("cuda")
    assert base.choose_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(DeviceError, match="cuda:1 is not available"):
        base.choose_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(DeviceError, match="cuda is not available"):
        base.choose_device("cuda")
    assert base.choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("cuda", "mps", "best"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_is_the_best_there_is(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, best: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert base.choose_device("auto") == torch.device(best)
