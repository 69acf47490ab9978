"""Everything a run needs to go on exactly where it was: adapter, optimizer moments, step. safetensors and JSON only."""

from __future__ import annotations

import json
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

AVERAGE_FILE = "ema.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """State after `step` optimizer updates, on the CPU."""

    step: int
    adapter: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    micro_batch_size: int | None = None
    """Pictures that fitted into memory at once; None: nobody has asked."""
    memory: str | None = None
    """Whose memory that was; None: a checkpoint that does not say."""
    average: dict[str, torch.Tensor] | None = None
    """The adapter's moving average; None: there is none."""
    average_updates: int = 0
    """Updates that it is of."""

    def write(self, folder: Path) -> None:
        """Fill a staging folder."""
        save_file(self.adapter, folder / "adapter.safetensors")
        if self.average is not None:
            save_file(self.average, folder / AVERAGE_FILE)
        tensors, scalars = split_optimizer(self.optimizer)
        save_file(tensors, folder / "optimizer.safetensors")
        facts = {
            "step": self.step,
            "param_groups": self.optimizer["param_groups"],
            "scalars": scalars,
            "scaler": self.scaler,
            "micro_batch_size": self.micro_batch_size,
            "memory": self.memory,
            "average_updates": self.average_updates,
        }
        (folder / "state.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Checkpoint:
        """Read a checkpoint after proving it against its manifest.

        Raises:
            RunFolderError: it is damaged.
        """
        verify(folder)
        facts = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        moments = join_moments(load_file(folder / "optimizer.safetensors"), facts["scalars"])
        return cls(
            facts["step"],
            load_file(folder / "adapter.safetensors"),
            {"state": moments, "param_groups": facts["param_groups"]},
            facts["scaler"],
            facts["micro_batch_size"],
            facts.get("memory"),
            load_file(folder / AVERAGE_FILE) if (folder / AVERAGE_FILE).exists() else None,
            facts.get("average_updates", 0),
        )


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


def require_same_stream(run: RunDir, step: int, pictures_per_step: int) -> None:
    """Positions in the stream of pictures are counted in whole updates.

    Raises:
        RunFolderError: the checkpoint of this step was made with another number of pictures to an update.
    """
    manifest = read_manifest(run.checkpoint(step))
    before = manifest.details.get("pictures_per_step") if manifest else None
    if before not in (None, pictures_per_step):
        raise RunFolderError(
            f"the checkpoint of step {step} was made with {before} pictures per update over all processes, "
            f"now there are {pictures_per_step}: some would be skipped or seen twice",
            "launch as many processes as before, or start another run with --new",
        )


def retain(run: RunDir, limit: int) -> None:
    """Delete the oldest checkpoints beyond `limit`, after proving that the newest one is whole."""
    steps = sorted(run.published_checkpoints())
    if len(steps) > limit:
        verify(run.checkpoint(steps[-1]))
        for step in steps[:-limit]:
            remove(run.staging, run.checkpoint(step))


def is_finite(checkpoint: Checkpoint) -> bool:
    """False if any value of the adapter or of the optimizer's state is NaN or infinite."""
    tensors, _ = split_optimizer(checkpoint.optimizer)
    found = (*checkpoint.adapter.values(), *(checkpoint.average or {}).values(), *tensors.values())
    return are_finite(found)


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
    """`torch.optim` state as flat tensors and flat JSON-able scalars, both named `<parameter>.<moment>`.

    Nested moments (bitsandbytes' quantised ones) get a name of several parts.
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
    """The `state` that `split_optimizer` took apart."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *scalars.items()]:
        index, *path, moment = name.split(".")
        moments = state.setdefault(int(index), {})
        for part in path:
            moments = moments.setdefault(part, {})
        moments[moment] = value
    return state
