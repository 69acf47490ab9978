"""The gradient of one optimizer update, gathered from as many micro-batches as memory asks for.

Running out of memory changes how a batch is split and nothing else: the same pictures, the same mean gradient up to
rounding. All processes split alike: they agree after their backward passes, before gradients are averaged over them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

import torch
from accelerate import Accelerator
from accelerate.utils.memory import should_reduce_batch_size
from diffusers.training_utils import free_memory
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from shared.errors import DeviceError

log = logging.getLogger(__name__)


class Accumulation:
    """Fills `.grad` of the parameters; remembers the largest micro-batch that may still fit."""

    def __init__(
        self, accelerator: Accelerator, model: nn.Module, parameters: list[nn.Parameter], batch_size: int
    ) -> None:
        self.accelerator, self.model, self.parameters = accelerator, model, parameters
        self.micro_batch_size = batch_size
        self._batch_size = batch_size

    @property
    def note(self) -> str:
        """What a person should know of the splitting; empty while there is none."""
        if self.micro_batch_size == self._batch_size:
            return ""
        return f"out of memory: batches of {self._batch_size} run in pieces of {self.micro_batch_size}"

    def limit(self, micro_batch_size: int) -> None:
        """Begin with pieces no larger than an earlier session of this run ended with."""
        self.micro_batch_size = min(self.micro_batch_size, micro_batch_size)

    def gather(self, batches: list[range], loss_of: Callable[[range], Tensor], begin: Callable[[], object]) -> Tensor:
        """Leave the mean gradient over all pictures of all processes in `.grad`; returns their mean loss.

        batches: positions of this process's pictures. loss_of: the mean loss of some of them, with a graph.
        begin: called before every attempt, so that one made again draws the same random numbers.

        Raises:
            DeviceError: out of memory with one picture at a time.
        """
        while (loss := self._attempt(batches, loss_of, begin)) is None:
            self._split()
        self._average()
        return cast("Tensor", self.accelerator.reduce(loss, "mean"))

    def _attempt(
        self, batches: list[range], loss_of: Callable[[range], Tensor], begin: Callable[[], object]
    ) -> Tensor | None:
        """This process's mean loss; None: a process has run out of memory.

        Memory is freed by the caller: inside `except` the traceback would still hold the failed pass's tensors.
        """
        for parameter in self.parameters:
            parameter.grad = None
        begin()
        loss = None
        try:
            loss = self._pass(batches, loss_of)
        except RuntimeError as error:
            if not (isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)):
                raise
        return loss if self._all_succeeded(loss is not None) else None

    def _pass(self, batches: list[range], loss_of: Callable[[range], Tensor]) -> Tensor:
        """Forward and backward over every piece, each weighted by its share of the pictures."""
        num_pictures = sum(map(len, batches))
        losses: list[Tensor] = []
        for piece in self._pieces(batches):
            pieces_per_update = num_pictures / len(piece)
            with self.accelerator.no_sync(self.model):
                loss = loss_of(piece) / pieces_per_update
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _pieces(self, batches: list[range]) -> list[range]:
        size = self.micro_batch_size
        return [batch[start : start + size] for batch in batches for start in range(0, len(batch), size)]

    def _all_succeeded(self, succeeded: bool) -> bool:
        if self.accelerator.num_processes == 1:
            return succeeded
        failures = torch.tensor(float(not succeeded), device=self.accelerator.device)
        return bool(cast("Tensor", self.accelerator.reduce(failures, "sum")) == 0)

    def _split(self) -> None:
        """Halve the micro-batch, an odd one rounded up.

        Raises:
            DeviceError: it is one picture already.
        """
        free_memory()
        if self.micro_batch_size == 1:
            raise DeviceError(
                "out of memory with one picture at a time",
                "train.gradient_checkpointing = true saves most; then a smaller data.resolution or lora.rank, "
                "train.optimizer = 'adamw8bit', model.quantization = '4bit'",
            )
        self.micro_batch_size = (self.micro_batch_size + 1) // 2
        log.warning("%s; each update stays the same", self.note)

    def _average(self) -> None:
        """Mean gradient over the processes: the backward passes ran without DDP's own."""
        if self.accelerator.num_processes == 1:
            return
        gradients = [
            parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            for parameter in self.parameters
        ]
        mean = cast("Tensor", self.accelerator.reduce(parameters_to_vector(gradients), "mean"))
        vector_to_parameters(mean, gradients)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
