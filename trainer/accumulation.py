"""The gradient of one optimizer update, gathered from as many micro-batches as memory asks for.

Running out of memory changes how a batch is split and nothing else: the same pictures, the same mean gradient up to
rounding. All processes split alike: they agree after their backward passes, before gradients are averaged over them.
What fits may change (an evaluator that shared the card has ended): larger pieces are tried again now and then.
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
"""Updates in smaller pieces after which larger ones are tried; twice as many whenever memory has run out again."""


class Accumulation:
    """Fills `.grad` of the parameters; remembers the largest micro-batch that may still fit."""

    def __init__(
        self, accelerator: Accelerator, model: nn.Module, parameters: list[nn.Parameter], batch_size: int
    ) -> None:
        self.accelerator, self.model, self.parameters = accelerator, model, parameters
        self.batch_size = self.micro_batch_size = batch_size
        self._updates_since_change, self._retry_after = 0, FIRST_RETRY / 2

    @property
    def note(self) -> str:
        """What a person should know of the splitting; empty while there is none."""
        if self.micro_batch_size == self.batch_size:
            return ""
        return f"out of memory: batches of {self.batch_size} run in pieces of {self.micro_batch_size}"

    def resume(self, micro_batch_size: int | None, memory: str | None) -> None:
        """Begin with pieces no larger than those that fitted in an earlier session, unless that had another device.

        The main process decides for all of them. memory: `memory_of` its device; None: not recorded.
        """
        is_known = memory in (None, memory_of(self.accelerator.device))
        size = min(self.batch_size, micro_batch_size or self.batch_size) if is_known else self.batch_size
        if self.accelerator.num_processes > 1:
            mine = torch.tensor(float(size * self.accelerator.is_main_process), device=self.accelerator.device)
            size = int(cast("Tensor", self.accelerator.reduce(mine, "sum")))
        self.micro_batch_size = size

    def gather(self, batches: list[range], loss_of: Callable[[range], Tensor], begin: Callable[[], object]) -> Tensor:
        """Leave the mean gradient over all pictures of all processes in `.grad`; returns their mean loss.

        batches: positions of this process's pictures. loss_of: the mean loss of some of them, with a graph.
        begin: called before every attempt, so that one made again draws the same random numbers.

        Raises:
            DeviceError: out of memory with one picture at a time.
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
        """Go back to the size before the last halving, when the present one has done for long enough.

        It depends on counted updates alone, so that all processes do it in the same one.
        """
        if self.micro_batch_size == self.batch_size or self._updates_since_change < self._retry_after:
            return
        larger = self.batch_size
        while (half := (larger + 1) // 2) > self.micro_batch_size:
            larger = half
        self.micro_batch_size, self._updates_since_change = larger, 0
        log.info("pieces of %d pictures are tried again", larger)

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
            if not is_out_of_memory(error):
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
                "set train.gradient_checkpointing = true, which saves most, then a smaller data.resolution or "
                "lora.rank, train.optimizer = 'adamw8bit', model.quantization = '4bit'",
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
