"""Which device, and whether an error says that it has no memory left."""

from __future__ import annotations

import pytest
import torch

from shared.errors import DeviceError
from tasks import devices


def test_a_device_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices.choose_device("cuda") == torch.device("cuda")
    assert devices.choose_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(DeviceError, match="cuda:1 is not available"):
        devices.choose_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(DeviceError, match="cuda is not available"):
        devices.choose_device("cuda")
    assert devices.choose_device("cpu") == torch.device("cpu")


def test_a_name_that_is_no_device_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(DeviceError, match="'nonsense' is no device") as error:
        devices.choose_device("nonsense")
    assert error.value.hint == "name auto, cpu, cuda, cuda:1 or mps"


@pytest.mark.parametrize(("cuda", "mps", "best"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_is_the_best_there_is(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, best: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert devices.choose_device("auto") == torch.device(best)


@pytest.mark.parametrize(
    ("error", "is_so"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("CUDA out of memory."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("CUDA out of memory."), False),
    ],
)
def test_out_of_memory_is_known_by_kind_or_by_words(error: Exception, is_so: bool) -> None:
    assert devices.is_out_of_memory(error) is is_so
