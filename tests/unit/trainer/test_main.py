"""What the trainer tells a person before it begins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tasks.text_to_image.models import precheck
from tests.conftest import RunMaker
from trainer import __main__ as program
from trainer.stopping import StopRequestedError


class Told:
    """A status that remembers."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def update(self, *_: object, **__: object) -> None: ...

    def notice(self, text: str) -> None:
        self.notices.append(text)


@pytest.mark.parametrize("notices", [["too small"], []])
def test_pictures_too_small_for_the_model_are_a_notice_before_anything_is_encoded(
    notices: list[str], make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(*_: object, **__: object) -> None:
        raise StopRequestedError("here")

    monkeypatch.setattr("tasks.text_to_image.training.prepare", prepare)
    monkeypatch.setattr(program, "_newest", lambda *_: None)
    monkeypatch.setattr(precheck, "resolution_notice", lambda _: notices[0] if notices else None)
    run, told, stop = make_paper_run(), Told(), SimpleNamespace(reason=lambda step: None)
    accelerator: Any = SimpleNamespace(num_processes=1, device=torch.device("cpu"))
    with pytest.raises(StopRequestedError):
        program._train(run, run.read_config(), accelerator, stop, told)  # type: ignore[arg-type]
    assert [text for text in told.notices if text == "too small"] == notices
