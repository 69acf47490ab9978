"""Training a classifier: `tasks.protocol.Training` of this task.

Shapes: B micro-batch, C classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from shared.config.loading import own_settings
from shared.config.schema import Config
from shared.errors import ModelError
from tasks.image_classification import adapter, network
from tasks.image_classification.network import Classifier, Normalization, State
from tasks.image_classification.settings import Settings
from tasks.image_classification.training.batches import Batches
from tasks.image_classification.training.held_out_loss import Validation
from tasks.protocol import HeldOutLosses, ParameterGroup, Progress


class ClassifierTraining:
    """The network, its training pictures, and the files of a snapshot."""

    memory_hint = (
        "set a smaller image_classification.img_size, model.mixed_precision = 'bf16', or image_classification.tuning = "
        "'lora'"
    )

    def __init__(
        self,
        config: Config,
        accelerator: Accelerator,
        module: Classifier,
        batches: Batches,
        how: Normalization,
        classes: tuple[str, ...],
        validation: Validation | None,
    ) -> None:
        self.config, self.accelerator, self.module = config, accelerator, module
        self._settings, self._how, self._classes = own_settings(config, Settings), how, classes
        self._batches, self._validation = batches, validation
        self._description = network.described(module.network)
        self._merging = adapter.attach(module, config) if self._settings.tuning == "lora" else None
        self._weights_C = self._class_weights()
        if config.train.gradient_checkpointing:
            module.network.gradient_checkpointing_enable({"use_reentrant": False})
        module.to(accelerator.device)
        self.groups = [
            ParameterGroup([one for one in module.parameters() if one.requires_grad], config.train.learning_rate)
        ]
        self.notices: tuple[str, ...] = ()

    @property
    def epoch_length(self) -> int:
        """Pictures of one pass."""
        return self._batches.epoch_length

    @property
    def details(self) -> dict[str, Any]:
        """The network, the size of its pictures, its classes."""
        settings = self._settings
        return {"arch": settings.arch, "img_size": settings.img_size, "classes": list(self._classes)}

    def loss(self, module: nn.Module, positions: range) -> Tensor:
        """Mean cross-entropy of the pictures at these positions. A scalar with a graph.

        With class weights it is the mean of weighed losses, not a weighed mean: how a batch is split does not matter.
        """
        pixels_BCHW, labels_B = self._batches.at(positions)
        device, smoothing = self.accelerator.device, self._settings.label_smoothing
        with self.accelerator.autocast():
            logits_BC = module(pixels_BCHW.to(device))
        labels_B = labels_B.to(device)
        losses_B = nn.functional.cross_entropy(logits_BC, labels_B, reduction="none", label_smoothing=smoothing)
        return (losses_B * self._weights_C[labels_B]).mean()

    def validate(self, module: nn.Module, batch_size: int, progress: Progress) -> HeldOutLosses | None:
        """The held-out losses of the present weights; None without `train.validation_steps`."""
        if self._validation is None:
            return None
        return self._validation.measure(module, self.accelerator, batch_size, progress)

    def weights(self) -> State:
        """Everything that training changes: trained parameters, and running statistics."""
        trained = {name for name, value in self.module.named_parameters() if value.requires_grad}
        trained |= {name for name, _ in self.module.named_buffers()}
        state = self.module.state_dict()
        return {name: value.detach().to("cpu", copy=True) for name, value in state.items() if name in trained}

    def restore(self, weights: State) -> None:
        """Put back weights that `weights` returned."""
        if missing := self.weights().keys() ^ weights.keys():
            raise ModelError(
                f"the weights belong to another network: {sorted(missing)[0]} is in one of them only",
                "resume with the settings of [image_classification] that the run was made with",
            )
        try:
            self.module.load_state_dict(weights, strict=False)
        except RuntimeError as error:
            raise ModelError(
                f"the weights belong to another network: {error}",
                "resume with the settings of [image_classification] that the run was made with",
            ) from None

    def write(self, folder: Path, weights: State, step: int) -> None:
        """Write the whole network; a LoRA is merged into it."""
        whole = self._merging.merged(weights) if self._merging else _without_wrapper(weights)
        network.save(folder, self._description, whole, self._settings.img_size, self._how)

    def _class_weights(self) -> Tensor:
        """(C,), mean 1 over the training pictures."""
        labels, count = self._batches.labels, len(self._classes)
        if self._settings.class_weights == "none":
            return torch.ones(count, device=self.accelerator.device)
        numbers_C = torch.bincount(labels, minlength=count).clamp_min(1)
        return (len(labels) / (count * numbers_C)).to(self.accelerator.device)


def _without_wrapper(weights: State) -> State:
    return {name.removeprefix("network."): value for name, value in weights.items()}
