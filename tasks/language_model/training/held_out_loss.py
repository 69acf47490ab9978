"""The held-out losses: does the model learn the task, or the training examples by heart?

The loss of an example is −log p of the tokens that count, per token, natural logarithm. Each example is measured once,
in evaluation mode, in fixed batches of similar lengths and a row for each, and each batch by one process: the numbers
are the same to the last bit for any number of processes. The probe is as many training examples; `gap` is held-out
minus probe.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from shared.run_folder.tables import Value
from tasks.language_model.data.tokens import Tokens
from tasks.language_model.network import scores
from tasks.language_model.rows import lay_out, loss_sums
from tasks.protocol import HeldOutLosses, Progress

BATCH_SIZE = 16
"""Examples measured at once, whatever the batch of training; fewer where only fewer fit into memory."""
LARGEST = 700.0
"""Of a loss whose exponential is still a number."""
LEAST_LOSS = 1e-12
"""Of an example: a loss of 0 has no logarithm."""


class Validation:
    """Measures the held-out examples and the probe."""

    def __init__(self, held_out: Mapping[str, Tokens], probe: Mapping[str, Tokens], padding: int) -> None:
        self._ids, self._num_held_out = [*held_out, *probe], len(held_out)
        self._examples, self._padding = [*held_out.values(), *probe.values()], padding
        self._counts = torch.tensor([one.num_counted for one in self._examples], dtype=torch.float64)

    def measure(
        self, module: nn.Module, accelerator: Accelerator, batch_size: int, progress: Progress
    ) -> HeldOutLosses:
        """The loss of every example, the same on all processes.

        The table is summed over the processes: all but one add zero to a cell. It advances no random state.
        """
        sums_P = torch.zeros(len(self._examples), dtype=torch.float64)
        network = accelerator.unwrap_model(module)
        network.eval()
        by_length = sorted(range(len(self._examples)), key=lambda place: len(self._examples[place].ids))
        batches = torch.tensor(by_length).split(min(BATCH_SIZE, batch_size))
        own_share = range(accelerator.process_index, len(batches), accelerator.num_processes)
        with torch.no_grad():
            for done, number in enumerate(own_share, 1):
                places_B = batches[number]
                sums_P[places_B] = self._sums(network, accelerator, places_B.tolist())
                progress(done, len(own_share))
        network.train()
        if accelerator.num_processes > 1:
            sums_P = cast("Tensor", accelerator.reduce(sums_P.to(accelerator.device), "sum")).cpu()
        return self._published(sums_P)

    def _sums(self, network: nn.Module, accelerator: Accelerator, places: Sequence[int]) -> Tensor:
        examples = [self._examples[place] for place in places]
        rows = lay_out(examples, max(len(one.ids) for one in examples), self._padding, packs=False)
        with accelerator.autocast():
            scores_BLV = scores(network, rows, accelerator.device)
        return loss_sums(scores_BLV, rows, len(examples)).double().cpu()

    def _published(self, sums_P: Tensor) -> HeldOutLosses:
        count = self._num_held_out
        losses_P = (sums_P / self._counts).clamp_min(LEAST_LOSS)
        held_out, probe = losses_P[:count].mean().item(), losses_P[count:].mean().item()
        mean = (sums_P[:count].sum() / self._counts[:count].sum()).item()
        row: dict[str, Value] = {
            "held_out_loss": held_out,
            "train_probe_loss": probe,
            "gap": held_out - probe,
            "perplexity": math.exp(mean) if mean < LARGEST else None,
            "num_examples": count,
        }
        by_id = list(zip(self._ids, losses_P.tolist(), strict=True))
        return HeldOutLosses(row, dict(by_id[:count]), dict(by_id[count:]))


def choose_probe(training: Sequence[str], count: int, seed: int) -> list[str]:
    """Ids of `count` training examples, chosen by seed and sorted; all of them if there are fewer."""
    return sorted(random.Random(f"probe:{seed}").sample(sorted(training), min(count, len(training))))
