"""Everything random in training, derived from (seed, position): nothing has to be saved, nothing can drift.

The training set is an endless stream of shuffled passes. Optimizer update `step` (from 1) takes the next `global_batch`
positions, whatever the number of processes; the picture at a position, how it is varied, its noise, timestep and latent
sample depend on the seed and the position alone.
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
    """The endless stream of pictures, in groups of one bucket each.

    Shuffled passes are dealt into a queue per bucket; a full queue is the next group. What does not fill one waits for
    the next pass: nothing is dropped, and each picture comes `repeats` times per pass. With one bucket the stream is
    one shuffled pass after another.

    Pictures for regularisation come in passes of their own, of which each pass takes as many cards as it has others:
    the next pass goes on where this one ended.
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
        """buckets, repeats: of each picture. group_size: pictures of one micro-batch on all processes together.

        regularization: indices of the pictures that are for it.
        """
        self._buckets, self._group_size, self._seed = buckets, group_size, seed
        cards = [index for index, times in enumerate(repeats) for _ in range(times)]
        self._one_pass = [card for card in cards if card not in regularization]
        self._class_pass = [card for card in cards if card in regularization]
        self._passes = self._class_passes = 0
        self._class_waiting: list[int] = []
        self._queues: dict[Hashable, list[int]] = {}
        self._dealt = array("L")

    @property
    def pass_length(self) -> int:
        """Positions of one pass over the training set, repeats and pictures for regularisation included."""
        return len(self._one_pass) * (2 if self._class_pass else 1)

    def picture_at(self, position: int) -> int:
        """Index of the picture at a position; it depends on nothing asked before."""
        while position >= len(self._dealt):
            self._deal_pass()
        return self._dealt[position]

    def _deal_pass(self) -> None:
        cards = [*self._one_pass, *self._class_cards()]
        random.Random(derive(self._seed, "epoch", self._passes)).shuffle(cards)
        self._passes += 1
        for card in cards:
            queue = self._queues.setdefault(self._buckets[card], [])
            queue.append(card)
            if len(queue) == self._group_size:
                self._dealt.extend(queue)
                queue.clear()

    def _class_cards(self) -> list[int]:
        """As many as a pass has others; none without such pictures."""
        wanted = len(self._one_pass) if self._class_pass else 0
        while len(self._class_waiting) < wanted:
            cards = list(self._class_pass)
            random.Random(derive(self._seed, "class", self._class_passes)).shuffle(cards)
            self._class_passes += 1
            self._class_waiting += cards
        taken, self._class_waiting = self._class_waiting[:wanted], self._class_waiting[wanted:]
        return taken
