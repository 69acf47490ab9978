"""How many threads a trainer on a CPU computes with. The tests count threads; none measures a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from trainer import threads
from trainer.checkpoint import Checkpoint
from trainer.threads import Cores, choose

CPU = torch.device("cpu")
EIGHT = Cores(all=8, half=4)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Eight cores, and torch as it starts on them."""
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    torch.set_num_threads(8)
    yield monkeypatch
    torch.set_num_threads(before)


@pytest.mark.parametrize(("alone", "expected"), [(True, 8), (False, 4)])
def test_a_lone_trainer_takes_all_cores_and_one_beside_an_evaluator_half(
    alone: bool, expected: int, machine: pytest.MonkeyPatch
) -> None:
    assert threads.take(CPU, "auto", None, resumes=False, alone=alone) == ""
    assert torch.get_num_threads() == expected


def test_several_processes_share_the_cores(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("LOCAL_WORLD_SIZE", "2")
    threads.take(CPU, "auto", None, resumes=False, alone=True)
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("alone", [True, False])
def test_the_environment_decides_before_everything(alone: bool, machine: pytest.MonkeyPatch) -> None:
    machine.setenv("OMP_NUM_THREADS", "3")
    torch.set_num_threads(3)  # as torch reads it
    assert threads.take(CPU, "all", 3, resumes=True, alone=alone) == ""
    assert torch.get_num_threads() == 3
    assert "with 3 threads, the steps before were made with 8" in threads.take(
        CPU, "auto", 8, resumes=True, alone=alone
    )


def test_nothing_is_set_where_a_gpu_computes(machine: pytest.MonkeyPatch) -> None:
    assert threads.take(torch.device("cuda"), 2, 5, resumes=True, alone=True) == ""
    assert torch.get_num_threads() == 8


@pytest.mark.parametrize(("before", "alone", "told"), [(8, False, "may be slow"), (4, True, "more cores are free")])
def test_a_resumed_run_keeps_its_number_and_says_what_would_change_it(before: int, alone: bool, told: str) -> None:
    chosen = choose("auto", before, EIGHT, resumes=True, alone=alone)
    assert chosen.number == before
    assert told in chosen.notice
    assert f"train.cpu_threads={8 if alone else 4}" in chosen.notice


@pytest.mark.parametrize("alone", [True, False])
def test_a_checkpoint_that_does_not_say_was_made_with_half(alone: bool) -> None:
    assert choose("auto", None, EIGHT, resumes=True, alone=alone).number == 4


def test_a_smaller_machine_takes_what_it_has_and_says_so() -> None:
    chosen = choose("auto", 8, Cores(all=2, half=1), resumes=True, alone=True)
    assert chosen.number == 2
    assert "does not end bit for bit" in chosen.notice


def test_a_larger_machine_keeps_the_number() -> None:
    assert choose("auto", 2, EIGHT, resumes=True, alone=True).number == 2


@pytest.mark.parametrize(("setting", "expected"), [("all", 8), ("half", 4), (3, 3)])
def test_the_setting_decides_also_on_a_resume(setting: threads.Setting, expected: int) -> None:
    assert choose(setting, None, EIGHT, resumes=False, alone=False) == threads.Threads(expected)
    assert choose(setting, 2, EIGHT, resumes=True, alone=True).number == expected
    assert choose(setting, 2, EIGHT, resumes=True, alone=True).notice


def test_a_checkpoint_keeps_the_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.checkpoint.verify", lambda folder: None)
    Checkpoint(5, {}, {"state": {}, "param_groups": []}, {}, threads=3).write(tmp_path)
    assert Checkpoint.read(tmp_path).threads == 3
