"""The loop that trains each pocket model: AdamW, a constant and then falling learning rate, averaged weights, resuming.

Matrices that are named may learn by Muon (Jordan et al. 2024), which takes fewer steps.

Promises: a run that was interrupted continues from its last save with the same noise and the same batches, because
everything random derives from the step's number. Saved state is safetensors and JSON; nothing is ever unpickled.
"""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

BatchLoss = Callable[[torch.Generator], Tensor]
"""The loss of one batch; everything random in it comes from the generator."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a model learns."""

    num_steps: int
    learning_rate: float
    num_warmup_steps: int = 100
    decay_share: float = 0.4
    """The share of the steps, at the end, in which the learning rate falls to zero."""
    ema_decay: float = 0.995
    beta2: float = 0.99
    """AdamW's second moment decay."""
    save_steps: int = 250
    matrix_rate: float = 0.0
    """Muon's learning rate; it rises and falls as AdamW's does."""

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 1."""
        left = (self.num_steps - step + 1) / max(1, round(self.num_steps * self.decay_share))
        return self.learning_rate * min(1.0, step / self.num_warmup_steps, left)


@dataclass
class Progressed:
    """The progress of a training; part of the report."""

    step: int = 0
    seconds: float = 0.0
    train_loss: float = float("nan")
    """A running mean over about 100 steps."""
    held_out_losses: dict[int, float] = field(default_factory=dict)
    """By step, of the averaged weights."""


def read_progress(folder: Path) -> Progressed:
    """The progress of the last save in `folder`."""
    saved = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
    saved["held_out_losses"] = {int(step): loss for step, loss in saved["held_out_losses"].items()}
    return Progressed(**saved)


class Learner:
    """One model, its optimizers, its averaged weights and its progress, kept in `folder`."""

    def __init__(
        self, model: nn.Module, schedule: Schedule, folder: Path, matrices: Iterable[nn.Parameter] = ()
    ) -> None:
        """matrices: those that learn by Muon; the others learn by AdamW."""
        self.model, self.schedule, self.folder = model, schedule, folder
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        by_muon = list(matrices)
        chosen = set(by_muon)
        others = [parameter for parameter in self.parameters if parameter not in chosen]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(others, lr=schedule.learning_rate, betas=(0.9, schedule.beta2))
        ]
        if by_muon:
            self.optimizers.append(torch.optim.Muon(by_muon, lr=schedule.matrix_rate, weight_decay=0.0))
        self.ema = EMAModel(self.parameters, decay=schedule.ema_decay)
        self.progress = Progressed()
        if (folder / "progress.json").exists():
            self._load()

    def fit(
        self, batch_loss: BatchLoss, held_out_loss: Callable[[], float], on_save: Callable[[], None] | None = None
    ) -> Progressed:
        """Trains to the schedule's end. `held_out_loss` and `on_save` see the averaged weights, every `save_steps`."""
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns) as bar:
            task = bar.add_task(self.folder.name, total=self.schedule.num_steps, completed=self.progress.step)
            while self.progress.step < self.schedule.num_steps:
                self._step(batch_loss)
                bar.update(task, advance=1, description=f"{self.folder.name} loss {self.progress.train_loss:.4f}")
                if self.progress.step % self.schedule.save_steps == 0 or self.progress.step == self.schedule.num_steps:
                    self._measure_and_save(held_out_loss, on_save)
                    bar.console.print(f"{self.folder.name} {self._summary()}")
        self.ema.copy_to(self.parameters)
        return self.progress

    def _step(self, batch_loss: BatchLoss) -> None:
        started, progress = time.perf_counter(), self.progress
        progress.step += 1
        share = self.schedule.rate(progress.step) / self.schedule.learning_rate
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = optimizer.defaults["lr"] * share
        self.model.train()
        with torch.autocast("cpu", torch.bfloat16):
            loss = batch_loss(torch.Generator().manual_seed(progress.step))
        self.model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0, error_if_nonfinite=True)
        for optimizer in self.optimizers:
            optimizer.step()
        self.ema.step(self.parameters)
        weight = 1 / min(progress.step, 100)
        progress.train_loss = (
            loss.item() if progress.step == 1 else progress.train_loss * (1 - weight) + loss.item() * weight
        )
        progress.seconds += time.perf_counter() - started

    def _measure_and_save(self, held_out_loss: Callable[[], float], on_save: Callable[[], None] | None) -> None:
        self.model.eval()
        self.ema.store(self.parameters)
        self.ema.copy_to(self.parameters)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            self.progress.held_out_losses[self.progress.step] = held_out_loss()
        if on_save is not None:
            on_save()
        self.ema.restore(self.parameters)
        self._save()

    def _summary(self) -> str:
        done = self.progress
        losses = f"loss {done.train_loss:.4f}, held out {done.held_out_losses[done.step]:.4f}"
        return f"step {done.step}: {losses}, {done.seconds:.0f} s, {done.seconds / done.step:.2f} s a step"

    def _save(self) -> None:
        """State first, then the progress that vouches for it, each by rename."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"ema.{i}": shadow for i, shadow in enumerate(self.ema.shadow_params)}
        for i, parameter in enumerate(self.parameters):
            tensors[f"model.{i}"] = parameter.data
            state = self._optimizer_of(parameter).state[parameter]
            tensors |= {f"optimizer.{i}.{key}": value for key, value in state.items()}
        staged = self.folder / "state.partial"
        save_file(
            {key: tensor.contiguous() for key, tensor in tensors.items()}, staged, {"step": str(self.progress.step)}
        )
        staged.replace(self.folder / "state.safetensors")
        (self.folder / "progress.partial").write_text(json.dumps(asdict(self.progress)), encoding="utf-8")
        (self.folder / "progress.partial").replace(self.folder / "progress.json")

    def _load(self) -> None:
        tensors = load_file(self.folder / "state.safetensors")
        self.progress = read_progress(self.folder)
        self.ema.optimization_step = self.progress.step
        for i, parameter in enumerate(self.parameters):
            parameter.data.copy_(tensors[f"model.{i}"])
            self.ema.shadow_params[i].copy_(tensors[f"ema.{i}"])
            prefix = f"optimizer.{i}."
            self._optimizer_of(parameter).state[parameter] = {
                k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)
            }

    def _optimizer_of(self, parameter: nn.Parameter) -> torch.optim.Optimizer:
        return next(
            optimizer
            for optimizer in self.optimizers
            if any(parameter is other for group in optimizer.param_groups for other in group["params"])
        )
