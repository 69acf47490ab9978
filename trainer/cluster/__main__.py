"""`python -m trainer.cluster RUN --on CLUSTER`: train a run, or resume it, on a cluster of Ray.

Ray Train starts as many workers as `train.num_processes` says, each with one process of the trainer. A first SIGTERM
asks them to save and stop, a second one ends them. Where a machine is lost, training goes on from the newest checkpoint
as soon as the cluster has room. Exit codes are the trainer's; and 2: no cluster answers, or it is too small.
"""

from __future__ import annotations

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from shared.cluster import address as addresses
from shared.config.schema import Config
from shared.errors import ConfigError, TrainingError, exit_code_of
from shared.launch import end_signals, parent_watch
from shared.machine import sources
from shared.run_folder import requests
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.run_dir import RunDir, open_run, steps_in

log = logging.getLogger("trainer")

BY = "the end of the program that started training on the cluster"
MAX_LOSSES = 3
"""Times in a row that workers are lost without a further checkpoint."""
LEAVE_SECONDS = 60.0
"""For processes of lost workers to end, before training goes on."""


def main() -> int:
    """Connect, train, and train again where workers were lost."""
    parser = argparse.ArgumentParser(prog="python -m trainer.cluster", description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--on", required=True, help="ray, ray://HOST:PORT or HOST:PORT")
    parser.add_argument("--alone", action="store_true", help="as of `python -m trainer`")
    arguments = parser.parse_args()
    run, address = open_run(arguments.run), addresses.parse(arguments.on)
    config = run.read_config()
    connection = importlib.import_module("shared.cluster.connection")  # loads Ray
    number = config.train.num_processes
    num_cpus = max(number, os.cpu_count() or 1) if address.is_local else None
    with connection.connected(address, {}, num_cpus):
        uses_gpu = require_room(config)
        for one in end_signals.ending():
            signal.signal(one, _Ending(run))
        parent_watch.watch()
        workers = importlib.import_module("trainer.cluster.workers")
        settings = _settings(run, alone=arguments.alone)
        return _until_trained(run, lambda: workers.train(run, number, uses_gpu=uses_gpu, settings=settings))


def require_room(config: Config) -> bool:
    """Whether the processes use GPUs.

    Raises:
        ConfigError: the cluster has too few, or too few processors.
    """
    ray = importlib.import_module("ray")
    found, number = ray.cluster_resources(), config.train.num_processes
    gpus, cpus = int(found.get("GPU", 0)), int(found.get("CPU", 0))
    if (gpus or cpus) < number:
        has = f"{gpus} GPUs" if gpus else f"{cpus} processors"
        raise ConfigError(
            f"train.num_processes is {number}, the cluster has {has}", "give a larger cluster, or fewer processes"
        )
    return gpus > 0


class _Ending:
    """The first signal asks the trainer to save and stop, the second ends this program, and with it the workers."""

    def __init__(self, run: RunDir) -> None:
        self._run, self._is_asked = run, False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._is_asked:
            os._exit(128 + number)
        self._is_asked = True
        requests.submit_stop(self._run, BY)


def _settings(run: RunDir, *, alone: bool) -> dict[str, Any]:
    return {
        "run": str(run.path),
        "run_id": run.read_record().run_id,
        "versions": sources.versions(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "alone": alone,
    }


def _until_trained(run: RunDir, train: Callable[[], int | str]) -> int:
    """The trainer's exit code. train: returns it, or why workers were lost."""
    losses = 0
    while True:
        before = max(steps_in(run.checkpoints), default=0)
        code = train()
        if isinstance(code, int):
            return code if code >= 0 else 1
        losses = 1 if max(steps_in(run.checkpoints), default=0) > before else losses + 1
        if losses >= MAX_LOSSES:
            text = f"workers were lost {losses} times in a row without a further checkpoint, at last: {code}"
            raise TrainingError(
                text, "look into the cluster's state with `ray status`, then run the same command again"
            )
        log.warning("workers were lost: %s; training goes on from the newest checkpoint", code)
        deadline = time.monotonic() + LEAVE_SECONDS
        while is_alive(read_status(run, "trainer")) and time.monotonic() < deadline:
            time.sleep(0.5)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(exit_code_of(main))
