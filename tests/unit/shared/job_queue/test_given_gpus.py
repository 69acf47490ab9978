from __future__ import annotations

import pytest

from shared.errors import ConfigError
from shared.job_queue.given_gpus import given_gpus


def test_gpus_are_those_that_are_named_or_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    assert given_gpus("2, GPU-5") == ("2", "GPU-5")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    assert given_gpus(None) == ("1", "3")


@pytest.mark.parametrize("listed", ["", "0,0", "0,,1"])
def test_a_list_that_is_unclear_is_refused(listed: str) -> None:
    with pytest.raises(ConfigError, match="--gpus is"):
        given_gpus(listed)
