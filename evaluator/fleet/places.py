"""Machines of a cluster, and where the members of a fleet go."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

CPU_MEMBERS = 2
"""On a machine without GPUs, where `--evaluators` does not say: each uses half of the cores."""


@dataclass(frozen=True)
class Place:
    """One machine of the cluster."""

    node: str
    name: str
    num_gpus: int
    num_cpus: int


def allotted(
    places: Sequence[Place], taken: Mapping[str, int], refused: Collection[str], wanted: int | None, *, gpus: bool
) -> list[Place]:
    """Where further members go. taken: machine → members it has. wanted: in all; None: as many as there are places.

    On a GPU there is one member. Without GPUs there are two on each machine, or as many as it counts processors if more
    are wanted. The machine with the fewest is next.
    """
    now = dict.fromkeys((place.node for place in places), 0) | dict(taken)
    room = {
        place.node: place.num_gpus if gpus else place.num_cpus if wanted else min(place.num_cpus, CPU_MEMBERS)
        for place in places
        if place.node not in refused
    }
    by_node = {place.node: place for place in places}
    further: list[Place] = []
    while wanted is None or sum(now.values()) < wanted:
        fitting = [node for node, most in room.items() if now[node] < most]
        if not fitting:
            break
        node = min(fitting, key=lambda one: now[one])
        now[node] += 1
        further.append(by_node[node])
    return further
