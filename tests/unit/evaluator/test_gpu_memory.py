"""What the evaluator leaves to the trainer on a GPU they share, and when its own memory is worth a word."""

from __future__ import annotations

import pytest
import torch

from evaluator import gpu_memory
from evaluator.gpu_memory import LeakDetector, allowance_mib, trainer_mib
from shared.machine.hardware import MIB
from shared.run_folder.heartbeat import hold_role
from tests.conftest import RunMaker

CUDA = torch.device("cuda", 0)


def test_a_trainer_that_has_not_grown_yet_keeps_its_room() -> None:
    assert allowance_mib(total=24_000, used_by_others=2_000, trainer=10_000) == 24_000 - 11_000 - 512
    assert allowance_mib(total=24_000, used_by_others=15_000, trainer=10_000) == 24_000 - 15_000 - 512
    assert allowance_mib(total=24_000, used_by_others=1_000, trainer=0) == 24_000 - 1_000 - 512


def test_the_device_is_measured_and_this_process_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    capped = list[tuple[float, torch.device]]()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (14_000 * MIB, 16_000 * MIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 500 * MIB)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, device: capped.append((share, device))
    )
    assert gpu_memory.limit(CUDA, trainer=10_000) == 16_000 - 11_000 - 512
    assert gpu_memory.limit(CUDA, trainer=0) == 16_000 - (2_000 - 500 - 512) - 512
    assert gpu_memory.limit(CUDA, trainer=20_000) == 16_000 - 22_000 - 512
    assert [share for share, _ in capped] == pytest.approx([4_488 / 16_000, 14_500 / 16_000, gpu_memory.MIN_SHARE])
    assert gpu_memory.limit(torch.device("cpu"), trainer=10_000) is None


def test_the_trainers_need_is_what_the_run_recorded(make_paper_run: RunMaker) -> None:
    record = make_paper_run().read_record()
    memory = {
        "GPU 0": {"free_mib": 24_000, "trainer": {"denoiser": 2000, "activations": 3000}, "evaluator": {"adapter": 7}},
        "this machine": {"free_mib": 9, "evaluator": {"adapter": 7}},
    }
    assert trainer_mib(record.model_copy(update={"memory": memory})) == 5000
    assert trainer_mib(record.model_copy(update={"memory": None})) == 0
    assert trainer_mib(record.model_copy(update={"memory": {"this machine": {"trainer": {"a": 1}}}})) == 0


def test_room_is_left_only_to_a_living_trainer_and_only_where_it_is(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    memory = {"GPU 0": {"trainer": {"denoiser": 2000, "activations": 3000}}}
    run.read_record().model_copy(update={"memory": memory}).write(run.record)
    assert gpu_memory.expected_mib(run, CUDA) == 0
    with hold_role(run, "trainer"):
        assert gpu_memory.expected_mib(run, CUDA) == 5000
        assert gpu_memory.expected_mib(run, torch.device("cuda", 1)) == 0
        assert gpu_memory.expected_mib(run, torch.device("cpu")) == 0


def test_growth_is_said_once_and_not_while_memory_takes_its_shape() -> None:
    leak_detector = LeakDetector()
    assert [leak_detector.alarm(1000.0 + 200 * number) for number in range(gpu_memory.WARM_UP)] == [
        ""
    ] * gpu_memory.WARM_UP
    settled = 1000.0 + 200 * (gpu_memory.WARM_UP - 1)
    assert leak_detector.alarm(settled * 1.2) == ""
    said = leak_detector.alarm(settled * 1.3)
    assert said == "the evaluator's memory grew from 2800 to 3640 MiB between its evaluations 10 and 12"
    assert leak_detector.alarm(settled * 2) == ""


def test_a_small_process_may_grow_by_a_little() -> None:
    leak_detector = LeakDetector()
    assert {leak_detector.alarm(100.0) for _ in range(gpu_memory.WARM_UP)} == {""}
    assert leak_detector.alarm(300.0) == ""
