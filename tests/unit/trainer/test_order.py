"""Sampling order: each picture once per epoch, the same stream for any number of processes."""

from __future__ import annotations

import itertools

import torch

from trainer import order


def stream(steps: int, *, batch_size: int, micro_batches: int = 1, world_size: int = 1) -> list[list[int]]:
    """Positions of each update, all processes together, in order."""
    return [
        sorted(
            itertools.chain.from_iterable(
                order.positions(
                    step, micro, rank, batch_size=batch_size, micro_batches=micro_batches, world_size=world_size
                )
                for micro in range(micro_batches)
                for rank in range(world_size)
            )
        )
        for step in range(1, steps + 1)
    ]


def test_every_picture_comes_once_per_epoch() -> None:
    for epoch in range(5):
        seen = [order.picture_at(epoch * 7 + offset, 7, seed=3) for offset in range(7)]
        assert sorted(seen) == list(range(7))


def test_epochs_are_shuffled_differently() -> None:
    epochs = {tuple(order.picture_at(epoch * 20 + offset, 20, seed=3) for offset in range(20)) for epoch in range(10)}
    assert len(epochs) == 10
    assert tuple(range(20)) not in epochs


def test_updates_take_the_stream_without_gap_or_overlap() -> None:
    steps = stream(6, batch_size=3, micro_batches=2)
    assert list(itertools.chain.from_iterable(steps)) == list(range(36))


def test_an_update_sees_the_same_pictures_whatever_the_number_of_processes() -> None:
    expected = stream(5, batch_size=12)
    for micro_batches, world_size in ((1, 4), (4, 1), (2, 2), (3, 2), (1, 12), (12, 1)):
        batch_size = 12 // (micro_batches * world_size)
        assert stream(5, batch_size=batch_size, micro_batches=micro_batches, world_size=world_size) == expected


def test_the_picture_at_a_position_depends_on_nothing_asked_before() -> None:
    forwards = [order.picture_at(position, 9, seed=1) for position in range(90)]
    backwards = [order.picture_at(position, 9, seed=1) for position in reversed(range(90))]
    assert forwards == backwards[::-1]


def test_neighbouring_numbers_seeds_and_purposes_give_unrelated_draws() -> None:
    draws = torch.stack(
        [
            torch.randn(400, generator=order.generator(seed, purpose, number))
            for seed, purpose, number in [(0, "example", 0), (0, "example", 1), (1, "example", 0), (0, "adapter", 0)]
        ]
    )
    correlation = torch.corrcoef(draws) - torch.eye(4)
    assert correlation.abs().max() < 0.2


def test_a_draw_is_repeatable_and_never_moves_between_versions() -> None:
    assert order.derive(0, "example", 0) == 186324613986510014
    assert torch.equal(
        torch.randn(4, generator=order.generator(7, "example", 3)),
        torch.randn(4, generator=order.generator(7, "example", 3)),
    )


def test_seeds_fit_a_generator() -> None:
    seeds = {order.derive(seed, "epoch", number) for seed in range(20) for number in range(20)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)
