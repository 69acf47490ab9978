"""GPUs as CUDA_VISIBLE_DEVICES names them; what a driver does not tell is blank, and asking is cheap."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from shared.machine import disk, hardware

NotSupported = hardware.pynvml.NVMLError(hardware.pynvml.NVML_ERROR_NOT_SUPPORTED)
Lost = hardware.pynvml.NVMLError(hardware.pynvml.NVML_ERROR_GPU_IS_LOST)
GIB = 1 << 30


@dataclass
class Card:
    """A GPU, or a MIG slice, of a driver that only pretends."""

    uuid: str
    name: str = "H100"
    total: int = 80 * GIB
    used: int = 0
    cores: int = 100
    slices: list[Card] = field(default_factory=list)
    errors: dict[str, Exception] = field(default_factory=dict)

    def tell(self, what: str, value: Any) -> Any:
        if error := self.errors.get(what):
            raise error
        return value


class Driver:
    """NVML's functions over some cards, and how often it was opened."""

    def __init__(self, *cards: Card) -> None:
        self.cards, self.num_opened, self.num_closed = list(cards), 0, 0

    def nvmlInit(self) -> None:  # noqa: N802
        self.num_opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.num_closed += 1

    def functions(self) -> dict[str, Callable[..., Any]]:
        return {
            "nvmlInit": self.nvmlInit,
            "nvmlShutdown": self.nvmlShutdown,
            "nvmlDeviceGetCount": lambda: len(self.cards),
            "nvmlDeviceGetHandleByIndex": lambda index: self.cards[index],
            "nvmlDeviceGetUUID": lambda card: card.tell("uuid", card.uuid),
            "nvmlDeviceGetName": lambda card: card.tell("name", card.name),
            "nvmlDeviceGetMemoryInfo": lambda card: card.tell(
                "memory", SimpleNamespace(used=card.used, total=card.total)
            ),
            "nvmlDeviceGetCudaComputeCapability": lambda card: card.tell("capability", (9, 0)),
            "nvmlDeviceGetMigMode": lambda card: card.tell("mig", [int(bool(card.slices)), 0]),
            "nvmlDeviceGetMaxMigDeviceCount": lambda card: card.tell("mig", 7),
            "nvmlDeviceGetMigDeviceHandleByIndex": slice_of,
            "nvmlDeviceGetGpuInstanceId": lambda card: int(card.uuid[-1]),
            "nvmlDeviceGetComputeInstanceId": lambda card: 0,
            "nvmlDeviceGetNumGpuCores": lambda card: card.tell("cores", card.cores),
            "nvmlDeviceGetMaxClockInfo": lambda card, clock: 1000,
        }


def slice_of(card: Card, index: int) -> Card:
    if index >= len(card.slices):
        raise hardware.pynvml.NVMLError(hardware.pynvml.NVML_ERROR_NOT_FOUND)
    return card.slices[index]


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Driver]:
    """Put cards into this machine, with a torch that can use them."""

    def put(*cards: Card) -> Driver:
        driver = Driver(*cards)
        for name, function in driver.functions().items():
            monkeypatch.setattr(hardware.pynvml, name, function)
        monkeypatch.setattr(hardware.importlib.metadata, "version", lambda package: "2.13.0")
        hardware.open_nvml.cache_clear()
        return driver

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    yield put
    hardware.open_nvml.cache_clear()


FOUR = [Card("GPU-aa00"), Card("GPU-ab11"), Card("GPU-bb22"), Card("GPU-cc33")]


@pytest.mark.parametrize(
    ("listed", "indices"),
    [
        (None, [0, 1, 2, 3]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("2", [2]),
        (" 3, 1 ", [3, 1]),
        ("+1,2gpu", [1, 2]),
        ("1,9,2", [1]),
        ("0,-1,1", [0]),
        ("0,,1", [0]),
        ("1,1", []),
        ("GPU-bb22", [2]),
        ("GPU-b", [2]),
        ("GPU-cc33,GPU-aa00", [3, 0]),
        ("GPU-a", []),
        ("GPU-aa,GPU-zz,GPU-bb", [0]),
        ("GPU-aa,GPU-aa00", []),
        ("GPU-", []),
        ("3,GPU-aa", [3, 0]),
        ("0,GPU-aa", []),
        ("MIG-aa", []),
    ],
)
def test_gpus_are_those_that_cuda_visible_devices_names(
    listed: str | None, indices: list[int], plug: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(*FOUR)
    if listed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert [gpu.index for gpu in hardware.usable_gpus()] == indices


def sliced() -> Card:
    slices = [Card("MIG-5e1", "H100 MIG 1g.10gb", 10 * GIB), Card("MIG-5e2", "H100 MIG 3g.40gb", 40 * GIB)]
    return Card("GPU-dd44", slices=slices)


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ("MIG-5e2", ["H100 MIG 3g.40gb"]),
        ("MIG-5e", []),
        ("MIG-GPU-dd44/2/0", ["H100 MIG 3g.40gb"]),
        ("1", ["H100 MIG 1g.10gb"]),
        ("GPU-dd", ["H100 MIG 1g.10gb"]),
        ("0", ["H100"]),
        ("0,1", ["H100 MIG 1g.10gb"]),
        ("MIG-5e2,MIG-5e1", ["H100 MIG 3g.40gb"]),
        (None, ["H100 MIG 1g.10gb"]),
    ],
)
def test_of_a_card_in_slices_one_slice_is_used(
    listed: str | None, names: list[str], plug: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(FOUR[0], sliced())
    if listed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    found = hardware.usable_gpus()
    assert [gpu.name for gpu in found] == names
    assert all(gpu.compute_capability == (9, 0) for gpu in found)
    sizes = {"H100": 80, "H100 MIG 1g.10gb": 10, "H100 MIG 3g.40gb": 40}
    assert [gpu.total_mib / 1024 for gpu in found] == [sizes[name] for name in names]


@pytest.mark.parametrize(
    ("order", "listed", "names"),
    [
        (None, None, ["H100", "T4", "L4"]),
        (None, "0", ["H100"]),
        (None, "1,2", ["T4", "L4"]),
        ("FASTEST_FIRST", "0", ["H100"]),
        ("PCI_BUS_ID", "0", ["T4"]),
        ("PCI_BUS_ID", "2,1", ["H100", "L4"]),
        (None, "GPU-1", ["L4"]),
    ],
)
def test_numbers_count_the_fastest_first_unless_cuda_is_told_to_follow_the_bus(
    order: str | None,
    listed: str | None,
    names: list[str],
    plug: Callable[..., Driver],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plug(Card("GPU-0", "T4", cores=10), Card("GPU-1", "L4", cores=20), Card("GPU-2", "H100", cores=90))
    for name, value in {"CUDA_DEVICE_ORDER": order, "CUDA_VISIBLE_DEVICES": listed}.items():
        if value is not None:
            monkeypatch.setenv(name, value)
    assert [gpu.name for gpu in hardware.usable_gpus()] == names


def test_where_speeds_are_not_told_numbers_follow_the_bus(plug: Callable[..., Driver]) -> None:
    plug(Card("GPU-0", "T4", errors={"cores": NotSupported}), Card("GPU-1", "H100", errors={"cores": NotSupported}))
    assert [gpu.name for gpu in hardware.usable_gpus()] == ["T4", "H100"]


def test_a_lost_gpu_hides_no_other(plug: Callable[..., Driver]) -> None:
    plug(Card("GPU-0", errors=dict.fromkeys(("uuid", "name", "memory"), Lost)), Card("GPU-1", name="L4"))
    assert [(gpu.index, gpu.name) for gpu in hardware.gpus()] == [(1, "L4")]


def test_what_an_old_driver_does_not_tell_is_left_out(plug: Callable[..., Driver]) -> None:
    plug(Card("GPU-0", used=GIB, errors={"capability": NotSupported, "mig": NotSupported, "uuid": NotSupported}))
    assert hardware.usable_gpus() == [hardware.Gpu(0, "H100", 1024.0, 80 * 1024.0)]


def test_a_gpu_without_memory_of_its_own_shares_the_machines(plug: Callable[..., Driver]) -> None:
    plug(Card("GPU-0", name="GB10", errors={"memory": NotSupported}))
    (gpu,) = hardware.usable_gpus()
    assert gpu.total_mib == psutil.virtual_memory().total / hardware.MIB
    assert 0 < gpu.free_mib < gpu.total_mib


def test_a_torch_without_cuda_uses_no_gpu(plug: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch) -> None:
    plug(*FOUR)
    monkeypatch.setattr(hardware.importlib.metadata, "version", lambda package: "2.13.0+cpu")
    assert hardware.usable_gpus() == []


def test_the_driver_is_opened_once_however_often_it_is_asked(plug: Callable[..., Driver]) -> None:
    driver = plug(*FOUR)
    for _ in range(20):
        hardware.gpus()
        hardware.usable_gpus()
    assert (driver.num_opened, driver.num_closed) == (1, 0)


def test_a_driver_that_comes_later_is_found(plug: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise hardware.pynvml.NVMLError(hardware.pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    driver = plug(*FOUR)
    monkeypatch.setattr(hardware.pynvml, "nvmlInit", absent)
    assert hardware.gpus() == hardware.usable_gpus() == []
    monkeypatch.setattr(hardware.pynvml, "nvmlInit", driver.nvmlInit)
    assert len(hardware.gpus()) == 4


def test_memory_that_cannot_be_read_is_blank(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise psutil.AccessDenied

    assert hardware.process_rss_mib()
    monkeypatch.setattr(psutil.Process, "memory_info", refuse)
    assert hardware.process_rss_mib() is None


def test_a_disk_that_does_not_answer_is_no_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(folder: Path) -> None:
        raise OSError(116, "Stale file handle")

    need = disk.Need(1, 1, 1 << 62, 1 << 62)
    assert disk.shortage(tmp_path, disk.Need(1 << 60, 1 << 60, 1, 1)) != ""
    monkeypatch.setattr(shutil, "disk_usage", stale)
    assert disk.free_bytes(tmp_path) is None
    assert disk.shortage(tmp_path, need) == ""
