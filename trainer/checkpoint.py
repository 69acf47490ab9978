"""Everything a run needs to go on exactly where it was: adapter, optimizer moments, step. safetensors and JSON only."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from shared import checkpoints
from shared.errors import RunFolderError
from shared.publication import remove, verify
from shared.rundir import RunDir


@dataclass(frozen=True)
class Checkpoint:
    """State after `step` optimizer updates, on the CPU."""

    step: int
    adapter: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Fill a staging folder."""
        save_file(self.adapter, folder / "adapter.safetensors")
        tensors, groups = _split_optimizer(self.optimizer)
        save_file(tensors, folder / "optimizer.safetensors")
        facts = {"step": self.step, "param_groups": groups, "scaler": self.scaler}
        (folder / "state.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Checkpoint:
        """Read a checkpoint after proving it against its manifest.

        Raises:
            RunFolderError: it is damaged.
        """
        verify(folder)
        facts = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        optimizer = _join_optimizer(load_file(folder / "optimizer.safetensors"), facts["param_groups"])
        return cls(facts["step"], load_file(folder / "adapter.safetensors"), optimizer, facts["scaler"])


def newest(run: RunDir, notice: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint; None: there has never been one, training begins at step 1.

    Damaged ones are moved aside, loudly: `notice` gets a sentence for each.

    Raises:
        RunFolderError: there were some, and none is whole: to begin again from nothing is not ours to decide.
    """
    for step in checkpoints.own_steps(run):
        try:
            return Checkpoint.read(run.checkpoint(step))
        except RunFolderError as error:
            aside = checkpoints.move_aside(run, step, checkpoints.DAMAGED)
            notice(f"checkpoint of step {step} is damaged, falling back to the one before: {error}; it is now {aside}")
    aside = sorted(path.name for path in run.checkpoints.glob(f"{checkpoints.DAMAGED}-*"))
    if aside:
        raise RunFolderError(
            f"no checkpoint of {run.path} is whole; moved aside: {', '.join(aside)}",
            "restore one from a copy, start another run with --new, or delete these to begin this one at step 1",
        )
    return None


def retain(run: RunDir, limit: int) -> None:
    """Delete the oldest checkpoints beyond `limit`, after proving that the newest one is whole."""
    steps = sorted(run.published_checkpoints())
    if len(steps) > limit:
        verify(run.checkpoint(steps[-1]))
        for step in steps[:-limit]:
            remove(run.staging, run.checkpoint(step))


def is_finite(checkpoint: Checkpoint) -> bool:
    """False if any value of the adapter or of the optimizer's state is NaN or infinite."""
    tensors, _ = _split_optimizer(checkpoint.optimizer)
    return all(bool(torch.isfinite(value).all()) for value in (*checkpoint.adapter.values(), *tensors.values()))


def copy_to_host(tree: Any) -> Any:
    """A deep copy of nested dicts and lists with every tensor on the CPU."""
    if isinstance(tree, torch.Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, dict):
        return {key: copy_to_host(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [copy_to_host(value) for value in tree]
    return tree


def _split_optimizer(optimizer: dict[str, Any]) -> tuple[dict[str, torch.Tensor], list[Any]]:
    """`torch.optim` state as flat tensors named `<parameter>.<moment>` and JSON-able groups."""
    tensors = {
        f"{index}.{name}": torch.as_tensor(value).contiguous()
        for index, moments in optimizer["state"].items()
        for name, value in moments.items()
    }
    return tensors, optimizer["param_groups"]


def _join_optimizer(tensors: dict[str, torch.Tensor], groups: list[Any]) -> dict[str, Any]:
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        moments.setdefault(int(index), {})[name] = value
    return {"state": moments, "param_groups": groups}
