"""The order of training examples and all random numbers, derived from (seed, position): nothing has to be saved.

The training set is an endless stream of shuffled passes. Optimizer update `step` (from 1) takes the next `global_batch`
positions, whatever the number of processes. The example at a position and every random number for it (augmentation,
noise, timestep, latent sample) depend on the seed and the position only.
"""

from __future__ import annotations

import hashlib
import random
from array import array
from collections.abc import Collection, Hashable, Sequence

import torch


def derive(seed: int, purpose: str, number: int) -> int:
    """A 63-bit seed for one purpose and number; neighbouring numbers give unrelated seeds."""
    digest = hashlib.blake2b(f"{seed}:{purpose}:{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, purpose: str, number: int) -> torch.Generator:
    """A CPU generator: the same draws on every device."""
    return torch.Generator().manual_seed(derive(seed, purpose, number))


def positions(step: int, micro_batch: int, rank: int, *, batch_size: int, micro_batches: int, world_size: int) -> range:
    """Positions in the stream of one process's micro-batch. step from 1; micro_batch and rank from 0."""
    global_batch = batch_size * micro_batches * world_size
    start = (step - 1) * global_batch + (micro_batch * world_size + rank) * batch_size
    return range(start, start + batch_size)


class Stream:
    """The endless stream of examples, in groups of one bucket each.

    Each shuffled pass is distributed to one queue per bucket; a full queue becomes the next group. Examples that do not
    fill a group wait for the next pass: none is dropped, and each comes `repeats` times per pass. With one bucket, the
    stream is one shuffled pass after another.

    Examples for regularisation have their own shuffled passes. Every pass takes as many of them as it has other
    examples, and the next pass continues where this one ended.
    """

    def __init__(
        self,
        buckets: Sequence[Hashable],
        repeats: Sequence[int],
        *,
        group_size: int,
        seed: int,
        regularization: Collection[int] = (),
    ) -> None:
        """buckets, repeats: of each example. group_size: examples of one micro-batch over all processes.

        regularization: indices of the examples for regularisation.
        """
        self._buckets, self._group_size, self._seed = buckets, group_size, seed
        indices = [index for index, times in enumerate(repeats) for _ in range(times)]
        self._one_pass = [index for index in indices if index not in regularization]
        self._class_pass = [index for index in indices if index in regularization]
        self._passes = self._class_passes = 0
        self._class_waiting: list[int] = []
        self._queues: dict[Hashable, list[int]] = {}
        self._stream = array("L")

    @property
    def pass_length(self) -> int:
        """Positions of one pass over the training set, repeats and examples for regularisation included."""
        return len(self._one_pass) * (2 if self._class_pass else 1)

    def example_at(self, position: int) -> int:
        """Index of the example at a position; it does not depend on earlier calls."""
        while position >= len(self._stream):
            self._extend_by_a_pass()
        return self._stream[position]

    def _extend_by_a_pass(self) -> None:
        indices = [*self._one_pass, *self._next_of_class()]
        random.Random(derive(self._seed, "epoch", self._passes)).shuffle(indices)
        self._passes += 1
        for index in indices:
            queue = self._queues.setdefault(self._buckets[index], [])
            queue.append(index)
            if len(queue) == self._group_size:
                self._stream.extend(queue)
                queue.clear()

    def _next_of_class(self) -> list[int]:
        """As many examples for regularisation as a pass has other examples; none if the data set has none."""
        count = len(self._one_pass) if self._class_pass else 0
        while len(self._class_waiting) < count:
            indices = list(self._class_pass)
            random.Random(derive(self._seed, "class", self._class_passes)).shuffle(indices)
            self._class_passes += 1
            self._class_waiting += indices
        of_this_pass, self._class_waiting = self._class_waiting[:count], self._class_waiting[count:]
        return of_this_pass
