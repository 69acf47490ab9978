"""Blocks of a frozen denoiser that wait in the host's memory and come to the device one by one: `blocks_to_swap`.

Only frozen weights travel, and only towards the device: they never change, so that the copy on the host stays true.
The adapter inside a block stays on the device. With gradient checkpointing a block is called twice in a step, in the
forward pass and again, in reverse order, when its activations are recomputed for the backward pass; both times it is
fetched before it computes, and a CUDA device fetches the next one meanwhile. The numbers are those of a run without
swapping, bit for bit.

Without checkpointing nothing would be saved: the graph of the forward pass keeps every weight it has multiplied by.
diffusers' group offloading does not do for training: checkpointing ends the second call of a block early, so that its
hook for the end of the call never runs and all blocks stay on the device; and it moves the adapter too.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tasks.text_to_image.weights.denoiser_blocks import spread

ALIGNMENT = 256
"""Bytes between the beginnings of two weights, as CUDA's allocator aligns them."""


class _Held:
    """The frozen weights of one block: a copy in the host's memory, in one piece."""

    def __init__(self, block: nn.Module, device: torch.device) -> None:
        self._device = device
        self._weights = [weight for weight in block.parameters() if not weight.requires_grad]
        self._places: list[tuple[int, torch.Size, torch.dtype]] = []
        size = 0
        for weight in self._weights:
            self._places.append((size, weight.shape, weight.dtype))
            size += math.ceil(weight.numel() * weight.element_size() / ALIGNMENT) * ALIGNMENT
        self.host = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
        for weight, view in zip(self._weights, self._views(self.host), strict=True):
            view.copy_(weight.detach())
        self.hide()

    def show(self, flat: Tensor) -> None:
        """Let the block compute with this copy."""
        for weight, view in zip(self._weights, self._views(flat), strict=True):
            weight.data = view

    def hide(self) -> None:
        """Leave empty weights on the device: a block that is called without its weights fails at once."""
        for weight, (_, _, dtype) in zip(self._weights, self._places, strict=True):
            weight.data = torch.empty(0, dtype=dtype, device=self._device)

    def _views(self, flat: Tensor) -> list[Tensor]:
        return [
            flat[start : start + shape.numel() * dtype.itemsize].view(dtype).view(shape)
            for start, shape, dtype in self._places
        ]


@dataclass(frozen=True)
class _Coming:
    """A copy on its way to the device."""

    position: int
    flat: Tensor
    arrived: torch.cuda.Event | None = None
    """None: the copy is complete."""


class BlockSwap:
    """Fetches blocks as they are called."""

    def __init__(self, denoiser: nn.Module, count: int, device: torch.device) -> None:
        """Take `count` blocks, spread evenly over all, from the device; the denoiser may be on the host still."""
        all_blocks = blocks(denoiser)
        chosen = [all_blocks[number] for number in spread(count, len(all_blocks))]
        self._device = device
        self._held = [_Held(block, device) for block in chosen]
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._current: int | None = None
        self._coming: _Coming | None = None
        self._entered: torch.cuda.Event | None = None
        for position, block in enumerate(chosen):
            block.register_forward_pre_hook(functools.partial(self._enter, position))

    def _enter(self, position: int, block: nn.Module, arguments: Any) -> None:
        """A block is about to compute. The one before has been asked for all it has to do, but may not have done it."""
        before = self._current
        if before == position:
            return
        if before is not None:
            self._held[before].hide()
        self._current = None  # as it stays if memory runs out here
        coming, self._coming = self._coming, None
        if coming is None or coming.position != position:
            coming = self._fetch(position)
        if self._stream:
            self._keep_up(coming)
        self._held[position].show(coming.flat)
        self._current = position
        following = self._following(before, position)
        if self._stream and following is not None:
            self._coming = self._fetch(following)

    def _following(self, before: int | None, position: int) -> int | None:
        """The neighbour away from where the passes come from; at both ends they turn around."""
        last = len(self._held) - 1
        onward = position + 1 if before is None or before < position else position - 1
        if 0 <= onward <= last:
            return onward
        return position - 1 if onward > last > 0 else position + 1 if last > 0 else None

    def _fetch(self, position: int) -> _Coming:
        host = self._held[position].host
        if self._stream is None:
            return _Coming(position, host.to(self._device))
        with torch.cuda.stream(self._stream):
            flat = host.to(self._device, non_blocking=True)
            return _Coming(position, flat, _event_on(self._stream))

    def _keep_up(self, coming: _Coming) -> None:
        """The device waits for the copy. The host waits until the device has left the block before the last one, so
        that the memory of blocks that were left can be used again.
        """
        computing = torch.cuda.current_stream(self._device)
        if coming.arrived:
            computing.wait_event(coming.arrived)
        coming.flat.record_stream(computing)
        if self._entered:
            self._entered.synchronize()
        self._entered = _event_on(computing)


def _event_on(stream: torch.cuda.Stream) -> torch.cuda.Event:
    """It has happened when the stream has done all that it was asked for so far."""
    event = torch.cuda.Event()
    event.record(stream)
    return event


def blocks(denoiser: nn.Module) -> list[nn.Module]:
    """The blocks of a transformer in the order in which they compute: the elements of its lists of modules."""
    lists = (child for child in denoiser.children() if isinstance(child, nn.ModuleList))
    return [block for modules in lists for block in modules]
