"""What the trainer asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor, nn

from shared.config.loading import own_settings
from shared.config.schema import Config
from shared.run_folder.run_dir import RunDir
from tasks.data_order import Stream
from tasks.protocol import HeldOutLosses, ParameterGroup, Progress
from tests.toy_task import line, numbers
from tests.toy_task.numbers import Row
from tests.toy_task.settings import Settings


class LineTraining:
    def __init__(self, config: Config, device: torch.device, rows: list[Row], held_out: list[Row]) -> None:
        self._config, self._device, self._rows, self._held_out = config, device, rows, held_out
        group_size, seed = config.train.train_batch_size * config.train.num_processes, config.train.seed
        self._stream = Stream([0] * len(rows), [1] * len(rows), group_size=group_size, seed=seed)
        self.module = line.fresh(config).to(device)
        self.groups = [ParameterGroup(list(self.module.parameters()), config.train.learning_rate)]
        self.epoch_length = self._stream.pass_length
        self.notices: tuple[str, ...] = ()
        self.memory_hint = "set train.optimizer = 'sgd'"
        self.details: dict[str, Any] = {"inputs": 1}

    def loss(self, module: nn.Module, positions: range) -> Tensor:
        return self._error(module, [self._rows[self._stream.example_at(position)] for position in positions])

    def validate(self, module: nn.Module, batch_size: int, progress: Progress) -> HeldOutLosses | None:
        if self._config.train.validation_steps is None:
            return None
        with torch.no_grad():
            held_out, learnt = (float(self._error(module, rows)) for rows in (self._held_out, self._rows))
            slope = float(self.module.weight)
        return HeldOutLosses(
            {"held_out_loss": held_out, "train_probe_loss": learnt, "gap": held_out - learnt, "slope": slope}
        )

    def weights(self) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self.module.state_dict().items()}

    def restore(self, weights: dict[str, Tensor]) -> None:
        self.module.load_state_dict(weights)

    def write(self, folder: Path, weights: dict[str, Tensor], step: int) -> None:
        save_file(weights, folder / line.WEIGHTS_FILE)

    def _error(self, module: nn.Module, rows: list[Row]) -> Tensor:
        x, y = torch.tensor([[row.x, row.y] for row in rows], device=self._device).unsqueeze(-1).unbind(dim=1)
        return (module(x) - y).abs().pow(own_settings(self._config, Settings).power).mean()


def prepare(run: RunDir, config: Config, accelerator: Accelerator, progress: Progress, *, begins: bool) -> LineTraining:
    rows, kept_away = numbers.read(config), set(run.read_record().dataset.held_out)
    learnt, held_out = ([row for row in rows if (row.id in kept_away) is away] for away in (False, True))
    return LineTraining(config, accelerator.device, learnt, held_out)
