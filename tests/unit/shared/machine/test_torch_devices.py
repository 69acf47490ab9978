"""Cards of AMD and Apple, by a torch that stands in for one that is built for them."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Generator
from types import SimpleNamespace

import psutil
import pytest

from shared.machine import hardware, torch_devices

GIB = 1 << 30
ROCM = """
class version: hip = "6.4"
class cuda:
    device_count = staticmethod(lambda: 2)
    mem_get_info = staticmethod(lambda index: (20 << 30, 24 << 30))
    get_device_name = staticmethod(lambda index: ["AMD Radeon RX 7900 XTX", "AMD Radeon VII"][index])
    get_device_capability = staticmethod(lambda index: [(11, 0), (9, 0)][index])
    is_bf16_supported = staticmethod(lambda: True)
"""
APPLE = """
class version: hip = None
class backends:
    class mps: is_available = staticmethod(lambda: True)
class mps: recommended_max_memory = staticmethod(lambda: 12 << 30)
"""


@pytest.fixture(autouse=True)
def asked_anew(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    torch_devices.ask.cache_clear()
    monkeypatch.setattr(hardware, "_devices", list)
    yield
    torch_devices.ask.cache_clear()


def stand_in(monkeypatch: pytest.MonkeyPatch, torch: str, version: str, system: str = "linux") -> None:
    """A torch of this source, in the process that is asked."""
    true = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version if name == "torch" else true(name))
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    begin = f"import sys, types; torch = types.ModuleType('torch'); exec({torch!r}, torch.__dict__); "
    monkeypatch.setattr(torch_devices, "ASK", f"{begin}sys.modules['torch'] = torch\n{torch_devices.ASK}")


def test_amd_cards_are_found_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, ROCM, "2.10.0+rocm6.4")
    first, second = hardware.usable_gpus()
    assert (first.name, first.total_mib, first.free_mib, first.kind) == (
        "AMD Radeon RX 7900 XTX", 24 * 1024, 20 * 1024, "rocm",
    )  # fmt: skip
    assert first.compute_capability >= (8, 0)
    assert second.index == 1
    assert hardware.gpus() == [first, second]


def test_apples_card_has_the_memory_that_is_recommended_and_free(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, APPLE, "2.10.0", "darwin")
    memory = SimpleNamespace(total=16 * GIB, available=9 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    (card,) = hardware.usable_gpus()
    assert (card.kind, card.total_mib, card.free_mib) == ("mps", 12 * 1024, 9 * 1024)
    assert card.compute_capability == (0, 0)


def test_torch_is_not_asked_where_it_is_built_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("torch was asked"))
    assert torch_devices.ask() == ()


@pytest.mark.parametrize(
    "torch", ["raise ImportError('libamdhip64.so')", "print('driver too old'); raise SystemExit(1)"]
)
def test_a_torch_that_fails_has_no_cards(monkeypatch: pytest.MonkeyPatch, torch: str) -> None:
    stand_in(monkeypatch, torch, "2.10.0+rocm6.4")
    assert hardware.usable_gpus() == []


def test_the_true_torch_answers_the_question() -> None:
    done = subprocess.run([sys.executable, "-c", torch_devices.ASK], capture_output=True, text=True, check=True)
    assert isinstance(json.loads(done.stdout), list)
