"""The gradient of one optimizer update, accumulated over as many micro-batches as memory requires.

Running out of memory changes only how a batch is split: the examples stay the same, and so does the mean gradient, up
to rounding. All processes split alike: they agree after their backward passes, before they average their gradients.
The size that fits can change, for instance when an evaluator on the same card ends, so larger pieces are tried again
from time to time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

import torch
from accelerate import Accelerator
from diffusers.training_utils import free_memory
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from shared.errors import DeviceError
from tasks.devices import is_out_of_memory, memory_of

log = logging.getLogger(__name__)

FIRST_RETRY = 100
"""Updates in smaller pieces before larger ones are tried; doubled each time memory runs out again."""


class Accumulation:
    """Fills `.grad` of the parameters; keeps the largest micro-batch size that may fit."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        parameters: list[nn.Parameter],
        batch_size: int,
        memory_hint: str,
    ) -> None:
        """memory_hint: how to make a single example fit into memory."""
        self.accelerator, self.model, self.parameters = accelerator, model, parameters
        self.batch_size = self.micro_batch_size = batch_size
        self._memory_hint = memory_hint
        self._updates_since_change, self._retry_after = 0, FIRST_RETRY / 2

    @property
    def note(self) -> str:
        """What the user should know about the splitting; empty while batches are whole."""
        if self.micro_batch_size == self.batch_size:
            return ""
        return f"out of memory: batches of {self.batch_size} run in pieces of {self.micro_batch_size}"

    def resume(self, micro_batch_size: int | None, memory: str | None) -> None:
        """Start with pieces no larger than those that fit in an earlier session, unless it used another device.

        The main process decides for all processes. memory: `memory_of` the earlier device; None: not recorded.
        """
        same_device = memory in (None, memory_of(self.accelerator.device))
        size = min(self.batch_size, micro_batch_size or self.batch_size) if same_device else self.batch_size
        if self.accelerator.num_processes > 1:
            main_size = torch.tensor(float(size * self.accelerator.is_main_process), device=self.accelerator.device)
            size = int(cast("Tensor", self.accelerator.reduce(main_size, "sum")))
        self.micro_batch_size = size

    def accumulate(
        self, batches: list[range], loss_of: Callable[[range], Tensor], begin: Callable[[], object]
    ) -> Tensor:
        """Leave the mean gradient over all examples of all processes in `.grad`; returns their mean loss.

        batches: positions of this process's examples. loss_of: the mean loss of some of them, with a graph.
        begin: called before every attempt, so that a repeated attempt draws the same random numbers.

        Raises:
            DeviceError: out of memory with one example at a time.
        """
        self._try_larger()
        size = self.micro_batch_size
        while (loss := self._attempt(batches, loss_of, begin)) is None:
            self._split()
        self._updates_since_change += 1
        if self.micro_batch_size < size:
            self._updates_since_change, self._retry_after = 1, 2 * self._retry_after
        self._average()
        return cast("Tensor", self.accelerator.reduce(loss, "mean"))

    def _try_larger(self) -> None:
        """Return to the size before the last halving, after enough updates with the present size.

        This depends on counted updates only, so that all processes do it in the same update.
        """
        if self.micro_batch_size == self.batch_size or self._updates_since_change < self._retry_after:
            return
        larger = self.batch_size
        while (half := (larger + 1) // 2) > self.micro_batch_size:
            larger = half
        self.micro_batch_size, self._updates_since_change = larger, 0
        log.info("trying pieces of %d again", larger)

    def _attempt(
        self, batches: list[range], loss_of: Callable[[range], Tensor], begin: Callable[[], object]
    ) -> Tensor | None:
        """This process's mean loss; None: a process has run out of memory.

        The caller frees memory: inside `except`, the traceback would still reference the failed pass's tensors.
        """
        for parameter in self.parameters:
            parameter.grad = None
        begin()
        loss = None
        try:
            loss = self._pass(batches, loss_of)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        return loss if self._all_succeeded(loss is not None) else None

    def _pass(self, batches: list[range], loss_of: Callable[[range], Tensor]) -> Tensor:
        """Forward and backward over every piece, each weighted by its share of the examples."""
        num_examples = sum(map(len, batches))
        losses: list[Tensor] = []
        for piece in self._pieces(batches):
            pieces_per_update = num_examples / len(piece)
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
        """Halve the micro-batch size, rounded up.

        Raises:
            DeviceError: it is 1 already.
        """
        free_memory()
        if self.micro_batch_size == 1:
            raise DeviceError("out of memory with one example at a time", self._memory_hint)
        self.micro_batch_size = (self.micro_batch_size + 1) // 2
        log.warning("%s; the updates stay the same", self.note)

    def _average(self) -> None:
        """Mean gradient over the processes: the backward passes ran without DDP's averaging."""
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
