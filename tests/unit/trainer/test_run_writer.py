"""What the trainer's table says of memory: every measurement may fail, none of them ends training."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from shared.config.loading import parse_config
from shared.machine import hardware
from trainer import run_writer

GIB = 1 << 30
GPU = torch.device("cuda", 1)


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa00,GPU-bb22")
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * GIB)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 * GIB, 16 * GIB) if device == GPU else None)


def test_the_memory_of_a_gpu_named_by_uuid_is_measured() -> None:
    row = run_writer._memory(GPU)
    assert [row[f"gpu_{what}_mib"] for what in ("allocated", "reserved", "device_used")] == [2048, 3072, 6144]
    assert row["process_rss_mib"]


def test_what_cannot_be_measured_is_blank(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: torch.device) -> None:
        raise RuntimeError("CUDA error: operation not supported")

    monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
    monkeypatch.setattr(hardware, "process_rss_mib", lambda: None)
    row = run_writer._memory(GPU)
    assert row["gpu_device_used_mib"] is None
    assert row["process_rss_mib"] is None
    assert row["gpu_allocated_mib"] == 2048


def test_a_step_asks_nvml_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened() -> None:
        raise AssertionError("NVML was opened")

    monkeypatch.setattr(hardware.pynvml, "nvmlInit", opened)
    hardware.open_nvml.cache_clear()
    for _ in range(3):
        run_writer._memory(GPU)


@pytest.mark.parametrize(("dtype", "snapshot"), [("fp32", 4000), ("fp16", 2000), ("bf16", 2000)])
def test_a_snapshot_in_16_bits_needs_half_of_the_disk_space(dtype: str, snapshot: int) -> None:
    train = {"what": "full", "snapshot_dtype": dtype, "ema_decay": 0.9}
    config = parse_config({"data": {"path": "p"}, "train": train})
    learner: Any = SimpleNamespace(weights=lambda: {"one": torch.zeros(1000)}, step=0, steps_per_epoch=10.0)
    need = run_writer._need(config, learner)
    assert (need.snapshot, need.checkpoint) == (snapshot, 4 * 4000), "weights, two moments, an average: all in fp32"
