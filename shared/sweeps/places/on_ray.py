"""Trials wherever Ray has room: a task for each, with the CPUs and GPUs that the sweep file asks for.

Ray only finds the place. What is tried, what is pruned and what is left to do is the sweep's, from its journal and the
run folders, which lie under the same path on every node. See docs/decisions/0037-ray-is-where-trials-run.md.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from shared.errors import ConfigError
from shared.sweeps.places.here import Here
from shared.sweeps.sweep_file import Resources

POLL_SECONDS = 0.5
LOST = -9
"""Exit code of a trial whose node or worker has died: as after SIGKILL, which Windows does not name."""


@dataclass
class Task:
    """A trial somewhere on the cluster."""

    answer: Any

    def poll(self) -> int | None:
        """See `Started`."""
        ready, _ = ray.wait([self.answer], timeout=0)
        if not ready:
            return None
        try:
            return int(ray.get(self.answer))
        except RayError:
            return LOST

    def end(self) -> None:
        """See `Started`. A killed worker closes the trial's standard input, by which it saves and ends."""
        ray.cancel(self.answer, force=True)


class OnRay:
    """See `Place`; made while Ray is connected."""

    def __init__(self, resources: Resources) -> None:
        """Raises ConfigError: no node has room for a single trial."""
        self._resources = resources
        self._train = ray.remote(_train)
        if not self._room():
            nodes = "; ".join(f"{node['CPU']:g} CPUs and {node['GPU']:g} GPUs" for node in _nodes()) or "no node"
            raise ConfigError(
                f"a trial takes {resources.cpus:g} CPUs and {resources.gpus:g} GPUs, the cluster has {nodes}",
                "lower resources.cpus and resources.gpus, or add a node that has as many",
            )

    @property
    def num_slots(self) -> int:
        """See `Place`; a node that is added later counts as soon as it is there."""
        room = self._room()
        return min(room, self._resources.max_parallel or room)

    def start(self, config: Path, log: Path) -> Task:
        """See `Place`."""
        options = self._train.options(
            num_cpus=self._resources.cpus, num_gpus=self._resources.gpus, max_retries=0, name=config.stem
        )
        return Task(options.remote(str(config), str(log)))

    def _room(self) -> int:
        """Trials for which the nodes that live have room, empty."""
        cpus, gpus = self._resources.cpus, self._resources.gpus
        return sum(
            int(min(node["CPU"] / cpus, node["GPU"] / gpus if gpus else node["CPU"] / cpus)) for node in _nodes()
        )


def _nodes() -> list[dict[str, float]]:
    living = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [{name: float(node.get(name, 0)) for name in ("CPU", "GPU")} for node in living]


def _train(config: str, log: str) -> int:
    """On a node: the trial, to its end; returns its exit code."""
    trial = Here().start(Path(config), Path(log))
    while (code := trial.poll()) is None:
        time.sleep(POLL_SECONDS)
    return code
