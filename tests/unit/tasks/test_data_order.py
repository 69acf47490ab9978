"""Sampling order: each picture once per epoch, the same stream for any number of processes."""

from __future__ import annotations

import collections
import itertools

import pytest
import torch

from tasks import data_order


def stream(steps: int, *, batch_size: int, micro_batches: int = 1, world_size: int = 1) -> list[list[int]]:
    """Positions of each update, all processes together, in order."""
    return [
        sorted(
            itertools.chain.from_iterable(
                data_order.positions(
                    step, micro, rank, batch_size=batch_size, micro_batches=micro_batches, world_size=world_size
                )
                for micro in range(micro_batches)
                for rank in range(world_size)
            )
        )
        for step in range(1, steps + 1)
    ]


def one_bucket(count: int, seed: int, group_size: int = 4) -> data_order.Stream:
    return data_order.Stream(["square"] * count, [1] * count, group_size=group_size, seed=seed)


def take(of: data_order.Stream, count: int, start: int = 0) -> list[int]:
    return [of.example_at(position) for position in range(start, start + count)]


def test_every_picture_comes_once_per_epoch() -> None:
    seen = take(one_bucket(7, seed=3), 35)
    for epoch in range(5):
        assert sorted(seen[epoch * 7 : epoch * 7 + 7]) == list(range(7))


def test_epochs_are_shuffled_differently() -> None:
    seen = take(one_bucket(20, seed=3), 200)
    epochs = {tuple(seen[start : start + 20]) for start in range(0, 200, 20)}
    assert len(epochs) == 10
    assert tuple(range(20)) not in epochs


def test_one_bucket_gives_the_stream_of_every_version() -> None:
    assert take(one_bucket(5, seed=0), 15) == [2, 1, 4, 0, 3, 3, 2, 1, 4, 0, 3, 0, 2, 4, 1]


MANY = {
    "even": ([index % 3 for index in range(30)], [1] * 30),
    "one odd picture": ([0] * 19 + [1], [1] * 20),
    "repeats": ([index % 2 for index in range(9)], [1, 5, 2, 1, 1, 3, 1, 1, 2]),
    "fewer than a group": ([0, 1, 2], [1, 1, 1]),
    "each its own": (list(range(6)), [1] * 6),
}


@pytest.mark.parametrize("case", MANY)
@pytest.mark.parametrize("group_size", [1, 2, 3, 4, 7])
def test_every_group_is_of_one_bucket(case: str, group_size: int) -> None:
    buckets, repeats = MANY[case]
    seen = take(data_order.Stream(buckets, repeats, group_size=group_size, seed=1), 60 * group_size)
    for start in range(0, len(seen), group_size):
        assert len({buckets[index] for index in seen[start : start + group_size]}) == 1


@pytest.mark.parametrize("case", MANY)
@pytest.mark.parametrize("group_size", [1, 2, 3, 4, 7])
def test_every_picture_comes_by_its_repeats_per_pass_but_for_groups_not_yet_full(case: str, group_size: int) -> None:
    buckets, repeats = MANY[case]
    stream_of = data_order.Stream(buckets, repeats, group_size=group_size, seed=5)
    assert stream_of.pass_length == sum(repeats)
    for passes in range(1, 20):
        stream_of._extend_by_a_pass()
        dealt = collections.Counter(stream_of._stream)
        waiting = collections.Counter(index for queue in stream_of._queues.values() for index in queue)
        assert dealt + waiting == collections.Counter({index: passes * times for index, times in enumerate(repeats)})
        assert all(len(queue) < group_size for queue in stream_of._queues.values())


def test_a_resumed_stream_is_the_same_stream() -> None:
    buckets, repeats = MANY["repeats"]
    straight = take(data_order.Stream(buckets, repeats, group_size=4, seed=2), 400)
    for start in (1, 57, 256):
        resumed = data_order.Stream(buckets, repeats, group_size=4, seed=2)
        assert take(resumed, 400 - start, start) == straight[start:]


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_processes_and_halved_micro_batches_split_the_same_groups(world_size: int, micro_batches: int) -> None:
    buckets, repeats = MANY["even"]
    whole = data_order.Stream(buckets, repeats, group_size=6, seed=4)
    own = data_order.Stream(buckets, repeats, group_size=6, seed=4)
    batch_size = 6 // world_size
    for step in range(1, 9):
        for micro in range(micro_batches):
            shares = [
                data_order.positions(
                    step, micro, rank, batch_size=batch_size, micro_batches=micro_batches, world_size=world_size
                )
                for rank in range(world_size)
            ]
            group = (step - 1) * micro_batches + micro
            seen = [own.example_at(position) for share in shares for position in share]
            assert seen == take(whole, 6, group * 6)


def test_updates_take_the_stream_without_gap_or_overlap() -> None:
    steps = stream(6, batch_size=3, micro_batches=2)
    assert list(itertools.chain.from_iterable(steps)) == list(range(36))


def test_an_update_sees_the_same_pictures_whatever_the_number_of_processes() -> None:
    expected = stream(5, batch_size=12)
    for micro_batches, world_size in ((1, 4), (4, 1), (2, 2), (3, 2), (1, 12), (12, 1)):
        batch_size = 12 // (micro_batches * world_size)
        assert stream(5, batch_size=batch_size, micro_batches=micro_batches, world_size=world_size) == expected


def test_the_picture_at_a_position_depends_on_nothing_asked_before() -> None:
    forwards = take(one_bucket(9, seed=1), 90)
    backwards_stream = one_bucket(9, seed=1)
    backwards = [backwards_stream.example_at(position) for position in reversed(range(90))]
    assert forwards == backwards[::-1]


def test_neighbouring_numbers_seeds_and_purposes_give_unrelated_draws() -> None:
    draws = torch.stack(
        [
            torch.randn(400, generator=data_order.generator(seed, purpose, number))
            for seed, purpose, number in [(0, "example", 0), (0, "example", 1), (1, "example", 0), (0, "adapter", 0)]
        ]
    )
    correlation = torch.corrcoef(draws) - torch.eye(4)
    assert correlation.abs().max() < 0.2


def test_a_draw_is_repeatable_and_never_moves_between_versions() -> None:
    assert data_order.derive(0, "example", 0) == 186324613986510014
    assert torch.equal(
        torch.randn(4, generator=data_order.generator(7, "example", 3)),
        torch.randn(4, generator=data_order.generator(7, "example", 3)),
    )


def test_seeds_fit_a_generator() -> None:
    seeds = {data_order.derive(seed, "epoch", number) for seed in range(20) for number in range(20)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)


def with_class(subject: int, of_class: int, *, repeats: int = 1, group_size: int = 2) -> data_order.Stream:
    return data_order.Stream(
        [index % 2 for index in range(subject + of_class)],
        [repeats] * subject + [1] * of_class,
        group_size=group_size,
        seed=7,
        regularization=range(subject, subject + of_class),
    )


@pytest.mark.parametrize(("subject", "of_class", "repeats"), [(5, 3, 1), (4, 30, 2), (6, 6, 1), (1, 100, 3)])
def test_each_pass_has_as_many_pictures_of_the_class_as_of_the_subject(
    subject: int, of_class: int, repeats: int
) -> None:
    stream_of = with_class(subject, of_class, repeats=repeats)
    assert stream_of.pass_length == 2 * subject * repeats
    for passes in range(1, 60):
        stream_of._extend_by_a_pass()
        dealt = collections.Counter(stream_of._stream)
        dealt += collections.Counter(index for queue in stream_of._queues.values() for index in queue)
        assert all(dealt[index] == passes * repeats for index in range(subject))
        seen = [dealt[index] for index in range(subject, subject + of_class)]
        assert sum(seen) == passes * subject * repeats
        assert max(seen) - min(seen) <= 1, "all of them are used, evenly"


def test_a_resumed_stream_with_pictures_of_the_class_is_the_same_stream() -> None:
    straight = take(with_class(5, 7), 300)
    for start in (1, 57, 256):
        assert take(with_class(5, 7), 300 - start, start) == straight[start:]
    assert all(start % 2 == next_one % 2 for start, next_one in zip(straight[::2], straight[1::2], strict=True))
