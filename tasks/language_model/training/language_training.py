"""Training a LoRA of a language model: `tasks.protocol.Training` of this task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from shared.config.loading import own_settings
from shared.config.schema import Config
from shared.errors import ModelError
from tasks.language_model import adapter
from tasks.language_model.network import LanguageModel, State, scores
from tasks.language_model.rows import loss_sums
from tasks.language_model.settings import Settings
from tasks.language_model.training.batches import Batches
from tasks.language_model.training.held_out_loss import Validation
from tasks.protocol import HeldOutLosses, ParameterGroup, Progress


class LanguageTraining:
    """The model with its LoRA, its training examples, and the files of a snapshot."""

    memory_hint = (
        "set train.gradient_checkpointing = true, a smaller language_model.context_length, or "
        'model.quantization = "4bit"'
    )

    def __init__(
        self,
        config: Config,
        accelerator: Accelerator,
        module: LanguageModel,
        batches: Batches,
        validation: Validation | None,
    ) -> None:
        """module: with its LoRA."""
        self.config, self.accelerator, self.module = config, accelerator, module
        self._batches, self._validation = batches, validation
        self._description = adapter.described(module.network)
        if config.train.gradient_checkpointing:
            module.network.gradient_checkpointing_enable({"use_reentrant": False})
        self.groups = _groups(module, config)
        self.notices: tuple[str, ...] = ()

    @property
    def epoch_length(self) -> int:
        """Examples of one pass."""
        return self._batches.epoch_length

    @property
    def details(self) -> dict[str, Any]:
        """The model, and how long its texts are."""
        settings = own_settings(self.config, Settings)
        return {"base_model": self.config.model.path, "context_length": settings.context_length}

    def loss(self, module: nn.Module, positions: range) -> Tensor:
        """−log p of the tokens that count, summed, over as many as so many examples have on average. With a graph.

        Every token counts alike, and how a batch is split does not matter.
        """
        rows = self._batches.at(positions)
        with self.accelerator.autocast():
            scores_RLV = scores(module, rows, self.accelerator.device)
        sums_E = loss_sums(scores_RLV, rows, len(positions))
        return sums_E.sum() / (self._batches.tokens_per_example * len(positions))

    def validate(self, module: nn.Module, batch_size: int, progress: Progress) -> HeldOutLosses | None:
        """The held-out losses of the present weights; None without `train.validation_steps`."""
        if self._validation is None:
            return None
        return self._validation.measure(module, self.accelerator, batch_size, progress)

    def weights(self) -> State:
        """The LoRA."""
        trained = ((name, value) for name, value in self.module.named_parameters() if value.requires_grad)
        return {name: value.detach().to("cpu", copy=True) for name, value in trained}

    def restore(self, weights: State) -> None:
        """Put back weights that `weights` returned."""
        cure = "resume with the settings of [lora] and [model] that the run was made with"
        if missing := self.weights().keys() ^ weights.keys():
            raise ModelError(f"the weights belong to another LoRA: {sorted(missing)[0]} is in one of them only", cure)
        try:
            self.module.load_state_dict(weights, strict=False)
        except RuntimeError as error:
            raise ModelError(f"the weights belong to another LoRA: {error}", cure) from None

    def write(self, folder: Path, weights: State, step: int) -> None:
        """Write the LoRA as PEFT has it."""
        adapter.save(folder, self.module.network, self._description, weights)


def _groups(module: nn.Module, config: Config) -> list[ParameterGroup]:
    """The B matrices stand apart where they learn faster (LoRA+, Hayou et al. 2024)."""
    rate, ratio = config.train.learning_rate, config.train.lora_plus_ratio
    trained = [(name, value) for name, value in module.named_parameters() if value.requires_grad]
    if ratio is None:
        return [ParameterGroup([value for _, value in trained], rate)]
    ups = [value for name, value in trained if ".lora_B." in name]
    others = [value for name, value in trained if ".lora_B." not in name]
    return [ParameterGroup(others, rate), ParameterGroup(ups, rate * ratio)]


def precision(mixed_precision: str) -> torch.dtype:
    """Of the frozen weights, by the precision that training computes in."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(mixed_precision, torch.float32)
