"""The held-out diffusion loss: does the adapter learn the subject, or memorise the training pictures?

The training loss of a step is one random draw of pictures, noise and timesteps, and too noisy to show a trend. Here
nothing is random: each picture is measured at the midpoints of 8 strata of the trained timesteps, with noise fixed by
(id, stratum), the VAE's mean and its own caption, in evaluation mode. The loss is the plain mean squared error of the
prediction, without the weights of `train`, so that runs with other weights, noise or batch sizes can be compared.
The probe is an equal number of training pictures, measured in the same way: `gap`, held-out minus probe, grows when the
adapter memorises them.

Shapes: P pictures, S strata, B batch, C latent channels, H W latent height and width.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from shared.config.schema import Config
from shared.data.dataset import Pair
from shared.run_folder.tables import Value
from tasks import data_order
from tasks.protocol import HeldOutLosses, Progress
from tasks.text_to_image.data import batches
from tasks.text_to_image.data.batches import Example
from tasks.text_to_image.data.cache import Cache, Caption, Picture
from tasks.text_to_image.families import source_latents
from tasks.text_to_image.families.model import Conditioning, Model
from tasks.text_to_image.objectives.loss import distance

NUM_STRATA = 8
"""Timesteps at which a held-out loss is measured."""
NOISE_SEED = 0
"""Not `train.seed`, so that runs with different seeds use the same noise."""


@dataclass(frozen=True)
class Losses:
    """The measured losses."""

    held_out: Tensor
    """(P, S), float64; so is the probe."""
    probe: Tensor
    ids: tuple[str, ...]
    """Of the held-out pictures, then of the probe's."""

    def published(self) -> HeldOutLosses:
        """Means over all pictures, and for each picture its mean over strata."""
        means = torch.cat([self.held_out, self.probe]).mean(dim=1).tolist()
        by_id, count = list(zip(self.ids, means, strict=True)), len(self.held_out)
        return HeldOutLosses(self.row(), dict(by_id[:count]), dict(by_id[count:]))

    def row(self) -> dict[str, Value]:
        """The loss columns of validation.csv, and the number of held-out pictures."""
        held_out, probe = self.held_out.mean().item(), self.probe.mean().item()
        strata = {f"held_out_t{index}": value for index, value in enumerate(self.held_out.mean(dim=0).tolist())}
        return {
            "held_out_loss": held_out,
            "train_probe_loss": probe,
            "gap": held_out - probe,
            **strata,
            "num_pictures": len(self.held_out),
        }


class Validation:
    """Measures the losses of the held-out pictures and of the probe."""

    def __init__(
        self, model: Model, cache: Cache, held_out: Sequence[Example], probe: Sequence[Example], config: Config
    ) -> None:
        self._model, self._cache, self._settings = model, cache, config.train
        self._live = config.encodes_captions_live
        self._num_held_out = len(held_out)
        self._examples = [*held_out, *probe]

    @property
    def pictures(self) -> list[Picture]:
        """The pictures that the cache must hold."""
        return [picture for example in self._examples for picture in (example.picture(), *example.source_pictures())]

    @property
    def captions(self) -> list[Caption]:
        """The captions that the cache must hold: none if they are encoded live."""
        return [] if self._live else [self._caption(example) for example in self._examples]

    def measure(
        self,
        predictor: nn.Module,
        accelerator: Accelerator,
        batch_size: int,
        progress: Progress = lambda done, total: None,
    ) -> Losses:
        """The losses of every picture, the same on all processes; each picture is measured by one of them.

        The table is summed over the processes: all but one add zero to a cell, so that the sum is exact and does not
        depend on the number of processes. batch_size: timesteps measured at once; at most the micro-batch size of
        training, which needs more memory for each. It neither reads nor advances a random state.
        """
        losses_PS = torch.zeros(len(self._examples), NUM_STRATA, dtype=torch.float64)
        module = accelerator.unwrap_model(predictor)
        module.eval()
        own_share = range(accelerator.process_index, len(self._examples), accelerator.num_processes)
        with torch.no_grad(), accelerator.autocast():
            for done, index in enumerate(own_share, 1):
                losses_PS[index] = self._picture(self._examples[index], module, batch_size)
                progress(done, len(own_share))
        module.train()
        if accelerator.num_processes > 1:
            losses_PS = cast("Tensor", accelerator.reduce(losses_PS.to(accelerator.device), "sum")).cpu()
        ids = tuple(example.pair.id for example in self._examples)
        return Losses(losses_PS[: self._num_held_out], losses_PS[self._num_held_out :], ids)

    def _picture(self, example: Example, module: nn.Module, batch_size: int) -> Tensor:
        """Loss of one picture at each stratum's timestep. (S,), fp32, on the CPU."""
        device, objective = self._model.device, self._model.objective
        mean_CHW, _ = self._cache.posterior(example.picture())
        latents_1CHW = self._model.scale_latents(mean_CHW.unsqueeze(0)).to(device)
        noise_SCHW = noise_of(example.pair.id, mean_CHW.shape).to(device)
        timesteps_S = objective.midpoints(NUM_STRATA, self._settings).to(device)
        text_1 = self._text(example) | self._sources(example)
        time_ids_16 = torch.tensor([batches.time_ids(example.framing)], device=device)
        losses: list[Tensor] = []
        for noise_BCHW, timesteps_B in zip(noise_SCHW.split(batch_size), timesteps_S.split(batch_size), strict=True):
            size = len(timesteps_B)
            latents_BCHW = latents_1CHW.expand(size, -1, -1, -1)
            model_pred_BCHW = module(
                objective.add_noise(latents_BCHW, noise_BCHW, timesteps_B),
                timesteps_B,
                {name: value.expand(size, *value.shape[1:]) for name, value in text_1.items()},
                time_ids_16.expand(size, -1),
            )
            target_BCHW = objective.target(latents_BCHW, noise_BCHW, timesteps_B)
            losses.append(distance(model_pred_BCHW, target_BCHW, "l2", 0).mean(dim=(1, 2, 3)).cpu())
        return torch.cat(losses)

    def _sources(self, example: Example) -> Conditioning:
        """The latents of what the picture is made from, on the device."""
        means = [self._cache.posterior(source)[0].unsqueeze(0) for source in example.source_pictures()]
        return source_latents.named([self._model.scale_latents(mean).to(self._model.device) for mean in means])

    def _caption(self, example: Example) -> Caption:
        return self._cache.beside(example.pair.caption, example.source_pictures())

    def _text(self, example: Example) -> Conditioning:
        """Conditioning of one caption, on the device; computed by the text encoders if they are trained."""
        if self._live:
            return self._model.encode_captions([example.pair.caption])
        return {
            name: value.to(self._model.device) for name, value in self._cache.texts([self._caption(example)]).items()
        }


def noise_of(pair_id: str, shape: Sequence[int]) -> Tensor:
    """White noise of one picture, by (id, stratum). shape: (C, H, W); returns (S, C, H, W), on the CPU."""
    generators = [data_order.generator(NOISE_SEED, f"validation:{pair_id}", stratum) for stratum in range(NUM_STRATA)]
    return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators])


def choose_probe(training: Sequence[Pair], count: int, seed: int) -> list[Pair]:
    """`count` training pairs, chosen by seed and sorted by id; all of them if there are fewer."""
    ids = sorted(pair.id for pair in training)
    probe_ids = set(random.Random(f"probe:{seed}").sample(ids, min(count, len(ids))))
    return sorted((pair for pair in training if pair.id in probe_ids), key=lambda pair: pair.id)
