"""A real cluster of Ray on this machine, shared by the tests of a session; nothing of it stays afterwards."""

from __future__ import annotations

import os
from collections.abc import Generator

import psutil
import pytest
from ray.cluster_utils import Cluster

NODE = {"include_dashboard": False, "object_store_memory": 80 << 20, "num_gpus": 0}
NUM_CPUS = 2
OF_RAY = ("raylet", "gcs_server", "ray::", "ray/_private", "ray/dashboard")


@pytest.fixture(scope="session")
def cluster() -> Generator[Cluster]:
    """Of one machine with two processors; a test that adds a machine removes it."""
    before = os.environ.get("RAY_USAGE_STATS_ENABLED")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": NUM_CPUS})
    yield made
    made.shutdown()
    if before is None:
        del os.environ["RAY_USAGE_STATS_ENABLED"]
    assert not processes_of_ray(), "Ray has left processes"


def processes_of_ray() -> list[str]:
    """The commands of this process's descendants that are Ray's and still run."""
    found: list[str] = []
    for process in psutil.Process().children(recursive=True):
        try:
            command = " ".join(process.cmdline())
            if process.status() != psutil.STATUS_ZOMBIE and any(mark in command for mark in OF_RAY):
                found.append(command)
        except psutil.NoSuchProcess:
            continue
    return found
