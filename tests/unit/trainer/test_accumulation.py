"""An update means the same however its pictures are split, and whatever runs out of memory on the way."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shared.errors import DeviceError
from trainer import accumulation
from trainer.accumulation import FIRST_RETRY, Accumulation

PICTURES = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))


def alone() -> Any:
    """An accelerator with one process."""
    return SimpleNamespace(
        num_processes=1,
        device=torch.device("cpu"),
        no_sync=lambda model: nullcontext(),
        backward=lambda loss: loss.backward(),
        reduce=lambda value, how: value,
    )


class Bench:
    """A small network, its objective on positions of a stream, and a memory that holds so many pictures."""

    def __init__(self, accelerator: Any, batch_size: int, fits: int = 1000, fails_in: str = "forward") -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)).double()
        self.fits, self.fails_in = fits, fails_in
        self.attempts: list[int] = []
        self.draws: list[float] = []
        parameters = list(self.network.parameters())
        self.accumulation = Accumulation(
            accelerator, self.network, parameters, batch_size, "set train.gradient_checkpointing = true"
        )

    def loss(self, positions: range) -> Tensor:
        self.attempts.append(len(positions))
        self.draws.append(torch.rand(()).item())
        loss = self.network(PICTURES[list(positions)].double()).square().mean()
        if len(positions) > self.fits:
            if self.fails_in == "forward":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            loss.register_hook(run_out)
        return loss

    def accumulate(self, *batches: range) -> tuple[float, Tensor]:
        loss = self.accumulation.accumulate(list(batches), self.loss, lambda: torch.manual_seed(7))
        return loss.item(), torch.cat([parameter.grad.flatten() for parameter in self.network.parameters()])

    def update(self, times: int) -> list[list[int]]:
        """The sizes of the pieces of so many updates."""
        found: list[list[int]] = []
        for _ in range(times):
            self.attempts.clear()
            self.accumulate(range(self.accumulation.batch_size))
            found.append([*self.attempts])
        return found


def run_out(gradient: Tensor) -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("fails_in", ["forward", "backward"])
@pytest.mark.parametrize(
    ("batches", "fits", "pieces"),
    [
        ([range(4)], 1, [4, 2, 1, 1, 1, 1]),
        ([range(5)], 3, [5, 3, 2]),
        ([range(5)], 2, [5, 3, 2, 2, 1]),
        ([range(4), range(4, 8)], 2, [4, 2, 2, 2, 2]),
        ([range(2), range(2, 7)], 4, [2, 5, 2, 3, 2]),
    ],
    ids=str,
)
def test_an_update_that_runs_out_of_memory_means_the_same_in_smaller_pieces(
    batches: list[range], fits: int, pieces: list[int], fails_in: str
) -> None:
    largest = max(map(len, batches))
    whole, starved = Bench(alone(), largest), Bench(alone(), largest, fits, fails_in)
    loss, gradient = whole.accumulate(*batches)
    split_loss, split_gradient = starved.accumulate(*batches)
    assert split_loss == pytest.approx(loss, abs=1e-12)
    assert torch.allclose(split_gradient, gradient, atol=1e-12)
    assert starved.attempts == pieces


def test_uneven_batches_count_by_their_pictures() -> None:
    loss, gradient = Bench(alone(), 5).accumulate(range(2), range(2, 7))
    expected_loss, expected_gradient = Bench(alone(), 7).accumulate(range(7))
    assert loss == pytest.approx(expected_loss, abs=1e-12)
    assert torch.allclose(gradient, expected_gradient, atol=1e-12)


def test_the_size_that_fitted_is_remembered() -> None:
    bench = Bench(alone(), 8, fits=2)
    assert bench.accumulation.note == ""
    bench.accumulate(range(8))
    bench.attempts.clear()
    bench.accumulate(range(8, 16))
    assert bench.attempts == [2, 2, 2, 2]
    assert bench.accumulation.note == "out of memory: batches of 8 run in pieces of 2"


def test_a_larger_size_is_tried_again_now_and_then_and_one_that_fits_stays() -> None:
    bench = Bench(alone(), 8, fits=2)
    bench.accumulate(range(8))
    bench.fits = 4
    assert bench.update(FIRST_RETRY) == [[2, 2, 2, 2]] * (FIRST_RETRY - 1) + [[4, 4]]
    assert bench.accumulation.note == "out of memory: batches of 8 run in pieces of 4"
    bench.fits = 8
    assert bench.update(FIRST_RETRY) == [[4, 4]] * (FIRST_RETRY - 1) + [[8]]
    assert bench.accumulation.note == ""
    assert bench.update(3) == [[8]] * 3


def test_the_longer_memory_does_not_suffice_the_rarer_it_is_tried() -> None:
    bench = Bench(alone(), 5, fits=2)
    attempts = bench.update(1 + 8 * FIRST_RETRY)
    tried = [number for number, sizes in enumerate(attempts) if sizes[0] != 2]
    assert tried == [0, FIRST_RETRY, 3 * FIRST_RETRY, 7 * FIRST_RETRY]
    assert attempts[0] == [5, 3, 2, 2, 1]
    assert {tuple(attempts[number]) for number in tried[1:]} == {(3, 2, 2, 1)}


def test_an_update_that_tries_in_vain_means_the_same() -> None:
    bench, whole = Bench(alone(), 4, fits=2), Bench(alone(), 4)
    bench.update(FIRST_RETRY)
    bench.attempts.clear()
    loss, gradient = bench.accumulate(range(4))
    assert bench.attempts == [4, 2, 2]
    expected_loss, expected = whole.accumulate(range(4))
    assert loss == pytest.approx(expected_loss, abs=1e-12)
    assert torch.allclose(gradient, expected, atol=1e-12)
    assert bench.draws[-3] == bench.draws[-2], "the same random numbers"


CARD, LARGER = "a card, 8 GiB", "a card, 80 GiB"


@pytest.mark.parametrize(
    ("size", "memory", "first"), [(3, CARD, [3, 3, 2]), (3, None, [3, 3, 2]), (3, LARGER, [8]), (None, CARD, [8])]
)
def test_a_resumed_session_begins_with_what_fitted_on_such_a_device(
    size: int | None, memory: str | None, first: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accumulation, "memory_of", lambda device: CARD)
    bench = Bench(alone(), 8)
    bench.accumulation.resume(size, memory)
    bench.accumulate(range(8))
    assert bench.attempts == first


def test_devices_are_told_apart_by_name_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="T4", total_memory=15 << 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    assert accumulation.memory_of(torch.device("cuda:1")) == f"T4, {15 << 30} bytes"
    assert accumulation.memory_of(torch.device("cpu")) == "cpu"


def test_a_second_attempt_draws_the_same_random_numbers() -> None:
    bench = Bench(alone(), 4, fits=2)
    bench.accumulate(range(4))
    failed, first, _ = bench.draws
    assert failed == first


def test_gradients_of_an_earlier_update_do_not_leak() -> None:
    bench = Bench(alone(), 4)
    _, gradient = bench.accumulate(range(4))
    assert torch.equal(bench.accumulate(range(4))[1], gradient)


def test_with_one_example_at_a_time_it_gives_up_with_advice(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(alone(), 4, fits=0)
    with pytest.raises(DeviceError, match="one example at a time") as given_up:
        bench.accumulate(range(4))
    assert given_up.value.exit_code == 3
    assert given_up.value.hint == "set train.gradient_checkpointing = true"
    assert bench.attempts == [4, 2, 1]
    assert "pieces of 1" in caplog.text


def test_memory_is_freed_after_the_failed_pass_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[bool] = []
    held: list[weakref.ref[Tensor]] = []

    def loss_of(positions: range) -> Tensor:
        activations = torch.zeros(1000)
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    def free() -> None:
        alive.append(held[-1]() is not None or sys.exc_info()[0] is not None)

    monkeypatch.setattr(accumulation, "free_memory", free)
    with pytest.raises(DeviceError):
        Bench(alone(), 2).accumulation.accumulate([range(2)], loss_of, lambda: None)
    assert alive == [False, False]


def test_another_error_is_not_taken_for_a_full_memory() -> None:
    def loss_of(positions: range) -> Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        Bench(alone(), 2).accumulation.accumulate([range(2)], loss_of, lambda: None)


# ---- several processes ----


class Meeting:
    """Threads that reduce together, as processes do."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=20)
        self.size = size
        self.brought: list[Tensor] = []

    def reduce(self, value: Tensor, how: str) -> Tensor:
        if self.barrier.wait() == 0:
            self.brought.clear()
        self.barrier.wait()
        self.brought.append(value)
        self.barrier.wait()
        total = torch.stack(self.brought).sum(dim=0)
        return total / self.size if how == "mean" else total

    def accelerator(self, rank: int = 0) -> Any:
        changed = {"num_processes": self.size, "reduce": self.reduce, "is_main_process": rank == 0}
        return SimpleNamespace(**{**vars(alone()), **changed})


def together(*works: Callable[[], object]) -> list[Any]:
    """What each returned, run at the same time."""
    results: list[Any] = [None] * len(works)

    def run(index: int) -> None:
        results[index] = works[index]()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return results


def test_processes_split_together_when_one_of_them_runs_out_of_memory() -> None:
    meeting = Meeting(2)
    first, second = Bench(meeting.accelerator(), 4), Bench(meeting.accelerator(), 4, fits=2)
    results = together(lambda: first.accumulate(range(4)), lambda: second.accumulate(range(4, 8)))
    loss, gradient = Bench(alone(), 8).accumulate(range(8))
    assert first.attempts == second.attempts == [4, 2, 2]
    for found_loss, found_gradient in results:
        assert found_loss == pytest.approx(loss, abs=1e-12)
        assert torch.allclose(found_gradient, gradient, atol=1e-12)


def test_processes_give_up_together() -> None:
    def give_up(bench: Bench, positions: range) -> str:
        with pytest.raises(DeviceError) as given_up:
            bench.accumulate(positions)
        return str(given_up.value)

    meeting = Meeting(2)
    first, second = Bench(meeting.accelerator(), 2), Bench(meeting.accelerator(), 2, fits=0)
    answers = together(lambda: give_up(first, range(2)), lambda: give_up(second, range(2, 4)))
    assert answers == ["out of memory with one example at a time"] * 2


def test_processes_try_larger_pieces_together_and_keep_them_only_if_all_can() -> None:
    meeting = Meeting(2)
    first, second = Bench(meeting.accelerator(0), 4), Bench(meeting.accelerator(1), 4, fits=2)
    found = together(lambda: first.update(1 + FIRST_RETRY), lambda: second.update(1 + FIRST_RETRY))
    assert found[0] == found[1] == [[4, 2, 2], *[[2, 2]] * (FIRST_RETRY - 1), [4, 2, 2]]
    second.fits = 4
    found = together(lambda: first.update(2 * FIRST_RETRY), lambda: second.update(2 * FIRST_RETRY))
    assert found[0] == found[1] == [*[[2, 2]] * (2 * FIRST_RETRY - 1), [4]]


def test_processes_on_unlike_devices_resume_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = Meeting(2)
    benches = [Bench(meeting.accelerator(rank), 8) for rank in range(2)]
    benches[1].accumulation.accelerator.device = torch.device("cpu", 0)
    monkeypatch.setattr(accumulation, "memory_of", lambda device: CARD if device.index is None else LARGER)
    together(*(lambda bench=bench: bench.accumulation.resume(2, CARD) for bench in benches))
    assert [bench.accumulation.micro_batch_size for bench in benches] == [2, 2]
