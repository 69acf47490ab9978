"""Everything random in training, derived from (seed, position): nothing has to be saved, nothing can drift.

The training set is an endless stream of shuffled epochs. Optimizer update `step` (from 1) takes the next `global_batch`
positions, whatever the number of processes; the picture at a position, its noise, timestep and latent sample depend on
the seed and the position alone.
"""

from __future__ import annotations

import hashlib
import random
from functools import lru_cache

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


def picture_at(position: int, num_pictures: int, seed: int) -> int:
    """Index of the picture at a position: every picture once per epoch."""
    return _epoch(position // num_pictures, num_pictures, seed)[position % num_pictures]


@lru_cache(maxsize=4)
def _epoch(epoch: int, num_pictures: int, seed: int) -> list[int]:
    order = list(range(num_pictures))
    random.Random(derive(seed, "epoch", epoch)).shuffle(order)
    return order
