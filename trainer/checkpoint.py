"""Everything a run needs to resume exactly: weights, optimizer moments, step. safetensors and JSON only."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from shared.errors import RunFolderError
from shared.files.publication import read_manifest, remove, verify
from shared.run_folder import checkpoints
from shared.run_folder.run_dir import RunDir

log = logging.getLogger(__name__)

WEIGHTS_FILE = "adapter.safetensors"
AVERAGE_FILE = "ema.safetensors"
EXAMPLES_PER_STEP = "pictures_per_step"
"""The detail of a checkpoint's manifest."""


@dataclass(frozen=True)
class Checkpoint:
    """State after `step` optimizer updates, on the CPU."""

    step: int
    weights: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    micro_batch_size: int | None = None
    """Examples that fit into memory at once; None: not recorded."""
    memory: str | None = None
    """The device whose memory they fit into, by `memory_of`; None: not recorded."""
    average: dict[str, torch.Tensor] | None = None
    """The moving average of the weights; None without `train.ema_decay`."""
    average_updates: int = 0
    """The number of updates that the average covers."""
    threads: int | None = None
    """Threads of a process that computes on a CPU; None: on another device, or not recorded."""

    def write(self, folder: Path) -> None:
        """Fill a staging folder."""
        save_file(self.weights, folder / WEIGHTS_FILE)
        if self.average is not None:
            save_file(self.average, folder / AVERAGE_FILE)
        tensors, scalars = split_optimizer(self.optimizer)
        save_file(tensors, folder / "optimizer.safetensors")
        state = {
            "step": self.step,
            "param_groups": self.optimizer["param_groups"],
            "scalars": scalars,
            "scaler": self.scaler,
            "micro_batch_size": self.micro_batch_size,
            "memory": self.memory,
            "average_updates": self.average_updates,
            "threads": self.threads,
        }
        (folder / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Checkpoint:
        """Read a checkpoint after checking it against its manifest.

        Raises:
            RunFolderError: it is damaged.
        """
        verify(folder)
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        moments = join_moments(load_file(folder / "optimizer.safetensors"), state["scalars"])
        return cls(
            state["step"],
            load_file(folder / WEIGHTS_FILE),
            {"state": moments, "param_groups": state["param_groups"]},
            state["scaler"],
            state["micro_batch_size"],
            state.get("memory"),
            load_file(folder / AVERAGE_FILE) if (folder / AVERAGE_FILE).exists() else None,
            state.get("average_updates", 0),
            state.get("threads"),
        )


def newest(run: RunDir, notice: Callable[[str], None]) -> Checkpoint | None:
    """The newest undamaged checkpoint; None: there has never been one, training starts at step 1.

    Moves damaged checkpoints aside and calls `notice` with a sentence about each.

    Raises:
        RunFolderError: every checkpoint is damaged. Only the user may decide to start again at step 1.
    """
    for step in checkpoints.own_steps(run):
        try:
            return Checkpoint.read(run.checkpoint(step))
        except RunFolderError as error:
            moved_to = checkpoints.move_aside(run, step, checkpoints.DAMAGED)
            notice(
                f"checkpoint of step {step} is damaged, falling back to the one before: {error}; "
                f"it was moved to {moved_to}"
            )
    damaged = sorted(path.name for path in run.checkpoints.glob(f"{checkpoints.DAMAGED}-*"))
    if damaged:
        raise RunFolderError(
            f"every checkpoint of {run.path} is damaged; moved aside: {', '.join(damaged)}",
            "restore one from a copy, start another run with --new, or delete these to start again at step 1",
        )
    return None


def require_same_stream(run: RunDir, step: int, examples_per_step: int) -> None:
    """Check that every update takes as many examples as before: positions in the stream are counted in updates.

    Raises:
        RunFolderError: the checkpoint of this step was made with another number of examples per update.
    """
    manifest = read_manifest(run.checkpoint(step))
    before = manifest.details.get(EXAMPLES_PER_STEP) if manifest else None
    if before not in (None, examples_per_step):
        raise RunFolderError(
            f"the checkpoint of step {step} was made with {before} examples per update over all processes, "
            f"now there are {examples_per_step}: some would be skipped or seen twice",
            "launch as many processes as before, or start another run with --new",
        )


def retain(run: RunDir, limit: int) -> None:
    """Delete the oldest checkpoints beyond `limit`, after checking that the newest one is undamaged.

    One that Windows does not let go of, because somebody reads it, is left to the next save.
    """
    steps = sorted(run.published_checkpoints())
    if len(steps) > limit:
        verify(run.checkpoint(steps[-1]))
        for step in steps[:-limit]:
            try:
                remove(run.staging, run.checkpoint(step))
            except PermissionError as error:
                log.warning("the checkpoint of step %s is not deleted yet: %s", step, error)


def is_finite(checkpoint: Checkpoint) -> bool:
    """False if any value of the weights or of the optimizer's state is NaN or infinite."""
    moments, _ = split_optimizer(checkpoint.optimizer)
    return are_finite((*checkpoint.weights.values(), *(checkpoint.average or {}).values(), *moments.values()))


def are_finite(tensors: Iterable[torch.Tensor]) -> bool:
    """False if any value is NaN or infinite."""
    return all(bool(torch.isfinite(value).all()) for value in tensors)


def copy_to_host(tree: Any) -> Any:
    """A deep copy of nested dicts and lists with every tensor on the CPU."""
    if isinstance(tree, torch.Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, dict):
        return {key: copy_to_host(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [copy_to_host(value) for value in tree]
    return tree


def split_optimizer(optimizer: dict[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """`torch.optim` state as flat tensors and flat scalars for JSON, both named `<parameter>.<moment>`.

    Nested moments (the quantised ones of bitsandbytes) get a name of several parts.
    """
    tensors: dict[str, torch.Tensor] = {}
    scalars: dict[str, Any] = {}

    def visit(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                visit(f"{name}.{key}", part)
        elif isinstance(value, torch.Tensor):
            tensors[name] = value.contiguous()
        else:
            scalars[name] = value

    for index, moments in optimizer["state"].items():
        visit(str(index), moments)
    return tensors, scalars


def join_moments(tensors: dict[str, torch.Tensor], scalars: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The inverse of `split_optimizer`: the `state` of a `torch.optim` optimizer."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *scalars.items()]:
        index, *path, moment = name.split(".")
        moments = state.setdefault(int(index), {})
        for part in path:
            moments = moments.setdefault(part, {})
        moments[moment] = value
    return state
