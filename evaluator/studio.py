"""The resident pipeline: stays loaded, takes one snapshot after another, draws the same prompts with the same seeds.

Deterministic: a fresh CPU generator for every (prompt, seed) and a fixed batch composition, so that the same snapshot
drawn twice gives the same pictures bit for bit, here and in plain diffusers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from evaluator.adapter import AdapterFile
from shared.config import EvaluationConfig
from shared.diffusion.lora import ADAPTER, LORA_FILE
from shared.errors import ModelError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One picture to draw."""

    prompt_id: str
    prompt: str
    seed: int
    batch: int


def jobs(prompts: dict[str, str], settings: EvaluationConfig) -> list[Job]:
    """prompts × seeds in a fixed order, cut into fixed batches. prompts: id → caption.

    Every picture has a seed of its own: noise shared by all prompts would make them err together, and intervals over
    prompts would be too narrow.
    """
    wanted = [prompt_id for prompt_id in prompts for _ in range(settings.num_seeds)]
    return [
        Job(prompt_id, prompts[prompt_id], settings.seed + number, number // settings.batch_size)
        for number, prompt_id in enumerate(wanted)
    ]


class Studio:
    """Draws with the base model, or with the snapshot last swapped in."""

    def __init__(self, pipeline: StableDiffusionPipeline, settings: EvaluationConfig, resolution: int) -> None:
        self.pipeline, self._settings, self._resolution = pipeline, settings, resolution
        self._embeds: dict[tuple[str, ...], tuple[torch.Tensor, torch.Tensor]] = {}
        self._loaded = False

    def swap(self, adapter: AdapterFile | None) -> None:
        """Make the pipeline draw with this adapter; None: with the base model alone.

        Raises:
            ModelError: the pipeline does not hold the file's weights afterwards.
        """
        if adapter is None:
            self._unload()
            return
        if not (self._loaded and self._hotswap(adapter)):
            self._unload()  # also what a load that failed halfway has left behind
            self._load(adapter, hotswap=False)
        self._prove(adapter)

    def draw(self, wanted: list[Job]) -> Iterator[list[Image.Image]]:
        """Yield the pictures of one batch after another, in the order of the jobs.

        Raises:
            ModelError: a picture is not finite, or all black.
        """
        for number in sorted({job.batch for job in wanted}):
            yield self._draw_batch([job for job in wanted if job.batch == number])

    def describe(self) -> dict[str, Any]:
        """What a result says of how its pictures were made."""
        return {
            "device": str(self.pipeline.device),
            "dtype": str(self.pipeline.unet.dtype).removeprefix("torch."),
            "scheduler": type(self.pipeline.scheduler).__name__,
            "num_inference_steps": self._settings.num_inference_steps,
            "guidance_scale": self._settings.guidance_scale,
            "resolution": self._resolution,
            "batch_size": self._settings.batch_size,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }

    def _draw_batch(self, batch: list[Job]) -> list[Image.Image]:
        prompt_embeds, negative_prompt_embeds = self._encode([job.prompt for job in batch])
        drawn = self.pipeline(
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            generator=[torch.Generator().manual_seed(job.seed) for job in batch],
            num_inference_steps=self._settings.num_inference_steps,
            guidance_scale=self._settings.guidance_scale,
            height=self._resolution,
            width=self._resolution,
            output_type="pt",
            return_dict=False,
        )
        pictures_BCHW: torch.Tensor = drawn[0]
        for job, picture_CHW in zip(batch, pictures_BCHW, strict=True):
            if not torch.isfinite(picture_CHW).all():
                raise ModelError(f"the picture of {job.prompt_id!r}, seed {job.seed}, is not finite")
            if not picture_CHW.any():
                raise ModelError(f"the picture of {job.prompt_id!r}, seed {job.seed}, is all black")
        processor = self.pipeline.image_processor
        return processor.numpy_to_pil(processor.pt_to_numpy(pictures_BCHW))

    def _encode(self, prompts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings of a batch and of its empty negative prompts; encoded once, always in the same company."""
        key = tuple(prompts)
        if key not in self._embeds:
            with torch.no_grad():
                embeds, negative_embeds = self.pipeline.encode_prompt(prompts, self.pipeline.device, 1, True)
            assert negative_embeds is not None  # guidance was asked for
            self._embeds[key] = (embeds, negative_embeds)
        return self._embeds[key]

    def _hotswap(self, adapter: AdapterFile) -> bool:
        try:
            self._load(adapter, hotswap=True)
        except (ValueError, RuntimeError, KeyError) as error:
            log.warning("hot-swap of %s failed, loading it afresh: %s", adapter.folder.name, error)
        return self._loaded

    def _load(self, adapter: AdapterFile, *, hotswap: bool) -> None:
        self._loaded = False
        self.pipeline.load_lora_weights(
            str(adapter.folder), weight_name=LORA_FILE, adapter_name=ADAPTER, hotswap=hotswap, use_safetensors=True
        )
        self._loaded = True

    def _unload(self) -> None:
        self.pipeline.unload_lora_weights()
        self._loaded = False

    def _prove(self, adapter: AdapterFile) -> None:
        """Every weight in the pipeline equals the file's, and so does the scale."""
        held = self.pipeline.unet.state_dict()
        for key, value in adapter.weights.items():
            name = key.removesuffix(".weight") + f".{ADAPTER}.weight"
            if name not in held or not torch.equal(held[name].cpu(), value.to(held[name].dtype)):
                raise ModelError(f"the pipeline does not hold {key} of {adapter.folder.name} after the swap")
        for module in self.pipeline.unet.modules():
            scaling = getattr(module, "scaling", None)
            if isinstance(scaling, dict) and abs(float(scaling[ADAPTER]) - adapter.scale) > 1e-6:
                raise ModelError(f"the pipeline applies scale {float(scaling[ADAPTER])}, the file says {adapter.scale}")
