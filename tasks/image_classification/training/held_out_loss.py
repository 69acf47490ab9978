"""The held-out losses: does the network learn the classes, or the training pictures by heart?

Each picture is measured once, uncut, without smoothing and class weights, in evaluation mode. The pictures stand in
fixed batches, and each batch is measured by one process: means are over pictures, whatever the remainder, and are the
same to the last bit for any number of processes. The probe is as many training pictures; `gap` is held-out minus probe.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from shared.data.sources.pair import Pair
from shared.run_folder.tables import Value
from tasks.image_classification.data.decoded import DecodedPictures
from tasks.image_classification.data.framing import fit
from tasks.image_classification.figures import macro
from tasks.image_classification.network import Normalization
from tasks.protocol import HeldOutLosses, Progress

BATCH_SIZE = 64
"""Pictures measured at once, whatever the batch of training; fewer where only fewer fit into memory."""
LEAST_LOSS = 1e-12
"""Of a picture: a loss of 0 has no logarithm."""


class Validation:
    """Measures the held-out pictures and the probe."""

    def __init__(
        self, held_out: Sequence[Pair], probe: Sequence[Pair], classes: Sequence[str], size: int, how: Normalization
    ) -> None:
        index = {name: number for number, name in enumerate(classes)}
        self._pairs, self._num_held_out, self._num_classes = [*held_out, *probe], len(held_out), len(classes)
        self._labels = torch.tensor([index[pair.caption] for pair in self._pairs])
        self._frame, self._how = partial(fit, size=size), how
        self._decoded = DecodedPictures(len(self._pairs), size)

    def measure(
        self, module: nn.Module, accelerator: Accelerator, batch_size: int, progress: Progress
    ) -> HeldOutLosses:
        """The losses of every picture, the same on all processes.

        The table is summed over the processes: all but one add zero to a cell. Running statistics of layers that
        normalise over a batch are the main process's, as a snapshot has them. It advances no random state.
        """
        losses_P = torch.zeros(len(self._pairs), dtype=torch.float64)
        guesses_P = torch.zeros(len(self._pairs), dtype=torch.float64)
        network = accelerator.unwrap_model(module)
        share_buffers(network, accelerator)
        network.eval()
        places = torch.arange(len(self._pairs)).split(min(BATCH_SIZE, batch_size))
        own_share = range(accelerator.process_index, len(places), accelerator.num_processes)
        with torch.no_grad():
            for done, number in enumerate(own_share, 1):
                places_B = places[number]
                logits_BC = self._logits(network, accelerator, places_B.tolist())
                losses_P[places_B] = losses_of(logits_BC, self._labels[places_B])
                guesses_P[places_B] = logits_BC.argmax(dim=1).double()
                progress(done, len(own_share))
        network.train()
        both_2P = torch.stack([losses_P, guesses_P])
        if accelerator.num_processes > 1:
            both_2P = cast("Tensor", accelerator.reduce(both_2P.to(accelerator.device), "sum")).cpu()
        return self._published(both_2P[0], both_2P[1].long())

    def _logits(self, network: nn.Module, accelerator: Accelerator, places: list[int]) -> Tensor:
        """(B, C), float64, on the CPU."""
        pictures = self._decoded.framed([self._pairs[place].image for place in places], self._frame)
        with accelerator.autocast():
            return network(self._how.pixels(torch.from_numpy(pictures)).to(accelerator.device)).double().cpu()

    def _published(self, losses_P: Tensor, guesses_P: Tensor) -> HeldOutLosses:
        count = self._num_held_out
        held_out, probe = losses_P[:count].mean().item(), losses_P[count:].mean().item()
        labels, guesses = self._labels[:count].numpy(), guesses_P[:count].numpy()
        figures = macro(labels, guesses, self._num_classes)
        row: dict[str, Value] = {
            "held_out_loss": held_out,
            "train_probe_loss": probe,
            "gap": held_out - probe,
            "accuracy": float((labels == guesses).mean()),
            **figures,
            "num_pictures": count,
        }
        by_id = [(pair.id, loss) for pair, loss in zip(self._pairs, losses_P.tolist(), strict=True)]
        return HeldOutLosses(row, dict(by_id[:count]), dict(by_id[count:]))


def losses_of(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Cross-entropy of each picture. (B,), float64, > 0."""
    return nn.functional.cross_entropy(logits_BC.double(), labels_B, reduction="none").clamp_min(LEAST_LOSS)


def share_buffers(network: nn.Module, accelerator: Accelerator) -> None:
    """Every process takes over the main process's running statistics: each has seen other pictures."""
    if accelerator.num_processes == 1:
        return
    for buffer in network.buffers():
        mine = buffer.double() if accelerator.is_main_process else torch.zeros_like(buffer, dtype=torch.float64)
        buffer.copy_(cast("Tensor", accelerator.reduce(mine, "sum")).to(buffer.dtype))


def choose_probe(training: Sequence[Pair], count: int, seed: int) -> list[Pair]:
    """`count` training pictures, chosen by seed and sorted by id; all of them if there are fewer."""
    ids = sorted(pair.id for pair in training)
    probe_ids = set(random.Random(f"probe:{seed}").sample(ids, min(count, len(ids))))
    return sorted((pair for pair in training if pair.id in probe_ids), key=lambda pair: pair.id)
