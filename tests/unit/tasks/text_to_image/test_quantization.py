"""What cannot be quantised is refused before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shared.config.schema import ModelConfig
from shared.errors import ConfigError, DeviceError
from tasks.text_to_image.families import quantization

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were installed."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_quantisation_without_an_nvidia_gpu_is_refused(device: str) -> None:
    with pytest.raises(DeviceError, match=f"model.quantization is 4bit, which needs an NVIDIA GPU; .* is {device}"):
        quantization.require(ModelConfig(quantization="4bit"), torch.device(device))


def test_quantisation_without_bitsandbytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="which needs bitsandbytes") as refused:
        quantization.require(ModelConfig(quantization="8bit"), CUDA)
    assert "darkroom[gpu]" in refused.value.hint


@pytest.mark.usefixtures("bitsandbytes")
def test_quantisation_of_a_single_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.touch()
    with pytest.raises(ConfigError, match=r"model\.path is a single file") as refused:
        quantization.require(ModelConfig(path=str(path), quantization="8bit"), CUDA)
    assert "save_pretrained" in refused.value.hint


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize("path", ["pocket", "owner/model"])
def test_folders_and_hub_ids_can_be_quantised_on_an_nvidia_gpu(path: str) -> None:
    quantization.require(ModelConfig(path=path, quantization="4bit"), CUDA)


def test_without_quantisation_nothing_is_asked_for() -> None:
    quantization.require(ModelConfig(), CPU)
    assert quantization.loading_arguments(ModelConfig(), torch.float16, "unet") == {}


def test_the_denoiser_alone_is_quantised_and_computes_in_the_runs_precision() -> None:
    pytest.importorskip("bitsandbytes")
    arguments = quantization.loading_arguments(ModelConfig(quantization="4bit"), torch.bfloat16, "unet")
    mapping = arguments["quantization_config"].quant_mapping
    assert list(mapping) == ["unet"]
    assert (mapping["unet"].load_in_4bit, mapping["unet"].bnb_4bit_quant_type) == (True, "nf4")
    assert mapping["unet"].bnb_4bit_compute_dtype == torch.bfloat16
    eight = quantization.loading_arguments(ModelConfig(quantization="8bit"), torch.bfloat16, "unet")
    assert eight["quantization_config"].quant_mapping["unet"].load_in_8bit
