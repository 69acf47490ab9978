"""One process of the trainer on a machine of the cluster: `python -m trainer RUN`, as `run.py train` starts it.

Ray Train tells each of its workers its rank; the trainer itself runs in a process of its own, so that its signals, its
exit code and its sums are those of a trainer without Ray. It ends when its worker ends, as with any `run.py` that dies.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from ray import train

from shared.errors import DarkroomError, RunFolderError
from shared.launch.supervisor import child_environment, python_module
from shared.machine import sources
from shared.run_folder.run_dir import RunDir

THREADS = "OMP_NUM_THREADS"
"""Ray sets it for its workers; sums, and therefore losses, depend on it."""
OF_RAY = (THREADS, "ACCELERATE_TORCH_DEVICE", "NODE_RANK")
ENDED = "the trainer's process {rank} ended with code {code}"
CODE = re.compile(r"the trainer's process \d+ ended with code (-?\d+)")


def work(settings: Mapping[str, Any]) -> None:
    """What a worker of Ray Train does: start its process of the trainer, and wait for it.

    Raises:
        DarkroomError: this machine cannot train this run.
        RuntimeError: the process failed; the text has its exit code.
    """
    run, context = RunDir(Path(settings["run"])), train.get_context()
    require_same(run, settings)
    rank = context.get_world_rank()
    place = environment(settings["threads"], _ranks(rank, context)) | {
        "PYTHONPATH": child_environment(run)["PYTHONPATH"]
    }
    command = python_module("trainer", run.path, *(["--alone"] if settings["alone"] else []))
    with (run.logs / "trainer.log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=place)
        code = process.wait()
    if code:
        raise RuntimeError(ENDED.format(rank=rank, code=code))


def require_same(run: RunDir, settings: Mapping[str, Any]) -> None:
    """Check that this machine has the run folder and the versions of the one that started training."""
    name, own = socket.gethostname(), sources.versions()
    others = [
        f"{one} {own.get(one)} in place of {version}"
        for one, version in settings["versions"].items()
        if own.get(one) != version
    ]
    if others:
        raise DarkroomError(f"{name} has {', '.join(others)}", "install the same versions on every machine")
    if not run.record.is_file() or run.read_record().run_id != settings["run_id"]:
        raise RunFolderError(f"{name} does not see the run folder {run.path}")


def environment(threads: str | None, ranks: Mapping[str, str]) -> dict[str, str]:
    """Of the process. threads: OMP_NUM_THREADS where training was started; None: it is not set there."""
    own = {name: value for name, value in child_environment(None).items() if name not in {*OF_RAY, *ranks_of_torch()}}
    return {**own, **({} if threads is None else {THREADS: threads}), **ranks}


def ranks_of_torch() -> tuple[str, ...]:
    """The variables by which a process finds the others."""
    return ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def _ranks(rank: int, context: Any) -> dict[str, str]:
    """As `shared.launch.process_group.places` has them; none for a single process."""
    if context.get_world_size() == 1:
        return {}
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(context.get_world_size()),
        "LOCAL_RANK": str(context.get_local_rank()),
        "LOCAL_WORLD_SIZE": str(context.get_local_world_size()),
        "MASTER_ADDR": os.environ["MASTER_ADDR"],
        "MASTER_PORT": str(_port(rank)),
    }


def _port(rank: int) -> int:
    """A free port of the first worker's machine: the one that Ray Train names is taken by the workers themselves."""
    ports = [0]
    if rank == 0:
        with socket.socket() as probe:
            probe.bind(("", 0))
            ports = [probe.getsockname()[1]]
    dist.broadcast_object_list(ports, src=0)
    return ports[0]
