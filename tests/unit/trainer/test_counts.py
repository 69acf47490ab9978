"""What a training step does not do: encode again, wait for the device twice, compile again. No time is measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.utils._python_dispatch import TorchDispatchMode

from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.training.preparation import prepare
from tests.conftest import RunMaker
from trainer.learner import Learner


class Reads(TorchDispatchMode):
    """Counts how often the host reads a value of a tensor: on a GPU it then waits for everything asked of it so far."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        self.number += function is torch.ops.aten._local_scalar_dense.default
        return function(*arguments, **(named or {}))


@contextmanager
def forwards_counted(kinds: tuple[str, ...]) -> Iterator[dict[str, int]]:
    """How often modules of these classes compute, by class."""
    counts = dict.fromkeys(kinds, 0)

    def count(module: nn.Module, *_: object) -> None:
        if type(module).__name__ in counts:
            counts[type(module).__name__] += 1

    handle = nn.modules.module.register_module_forward_pre_hook(count)
    try:
        yield counts
    finally:
        handle.remove()


def learner_of(run: RunDir) -> Learner:
    config, accelerator = run.read_config(), Accelerator(cpu=True)
    training = prepare(run, config, accelerator, lambda done, total: None, begins=True)
    return Learner(config, accelerator, training)


def test_nothing_is_encoded_once_it_is_cached(make_run: RunMaker) -> None:
    encoders = ("CLIPTextModel", "Encoder")
    run = make_run()
    with forwards_counted(encoders) as counts:
        learner = learner_of(run)
        assert all(counts.values()), "what is counted does happen"
        before = dict(counts)
        for _ in range(3):
            learner.update()
        assert counts == before
        learner_of(run).update()
        assert counts == before, "a second program encodes nothing either"


def test_a_step_waits_for_the_device_once(make_run: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = learner_of(make_run(train={"optimizer": "sgd"}))  # on a CPU AdamW reads its own counter of each matrix
    training: Any = learner.training
    batch = training.batches.at(range(learner.examples_per_step))  # safetensors reads bytes of the host
    monkeypatch.setattr(training.batches, "at", lambda positions: batch)
    whole, lists = torch.Tensor.tolist, list[int]()
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: lists.append(1) or whole(self))
    learner.update()
    lists.clear()
    with Reads() as reads:
        for _ in range(3):
            learner.update()
    assert reads.number + len(lists) == 3


def test_nothing_is_compiled_after_the_first_step(make_run: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    counter, whole = CompileCounter(), nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: whole(self, backend=counter))
    learner = learner_of(make_run(train={"torch_compile": True}))
    learner.update()
    first = counter.frame_count
    assert first
    for _ in range(3):
        learner.update()
    assert counter.frame_count == first
