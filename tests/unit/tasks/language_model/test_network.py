"""Weights of few bits are refused where they cannot be held, before anything large is loaded."""

from __future__ import annotations

import pytest
import torch

from shared.config.schema import ModelConfig
from shared.errors import DeviceError
from tasks.language_model import network

QUANTISED = ModelConfig(quantization="4bit")


def test_bits_are_few_on_an_nvidia_gpu_and_on_a_cpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    for device in ("cuda", "cpu"):
        network.require_quantization(QUANTISED, torch.device(device))
    with pytest.raises(DeviceError, match="needs an NVIDIA GPU or a CPU; this device is mps"):
        network.require_quantization(QUANTISED, torch.device("mps"))


def test_without_bitsandbytes_they_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DeviceError, match="bitsandbytes is not installed"):
        network.require_quantization(QUANTISED, torch.device("cpu"))
    network.require_quantization(ModelConfig(), torch.device("cpu"))
