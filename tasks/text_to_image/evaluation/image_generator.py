"""The resident pipeline: it stays loaded and draws the same prompts with the same seeds for every snapshot.

Deterministic: a fresh CPU generator for every (prompt, seed) and a fixed batch composition, so that the same snapshot
drawn twice gives the same pictures bit for bit, here and in plain diffusers. If memory runs out, batches are drawn in
pieces, which each result records; if that is not enough, the parts of the model take turns on the device.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers.training_utils import free_memory
from PIL import Image

from shared.config.schema import EvaluationConfig, LoraConfig
from shared.data.buckets import Size
from shared.data.pictures import on_white
from shared.data.prompt_file import AS_OTHERS, OwnPrompt
from shared.errors import ModelError
from tasks.devices import is_out_of_memory
from tasks.text_to_image.evaluation.snapshot_file import AdapterFile
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import fitted, lora
from tasks.text_to_image.lora.lora import ADAPTER, LORA_FILE
from tasks.text_to_image.weights.block_swap import BlockSwap, blocks
from tasks.text_to_image.weights.denoiser_blocks import require

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One picture to draw."""

    prompt_id: str
    prompt: str
    seed: int
    size: Size
    batch: int
    own: OwnPrompt = AS_OTHERS
    """What its prompt has of its own."""
    sources: tuple[Image.Image, ...] = ()
    """What it is made from."""


def jobs(
    prompts: dict[str, str],
    sizes: dict[str, Size],
    settings: EvaluationConfig,
    own: Mapping[str, OwnPrompt] | None = None,
    num_before: int = 0,
    sources: Mapping[str, tuple[Image.Image, ...]] | None = None,
) -> list[Job]:
    """prompts × seeds in fixed batches of one size each, one batch after another. prompts: id → caption.

    Prompts with sources have batches of their own: a call of a pipeline takes the sources of one prompt.

    Every picture has its own seed: with the same noise for all prompts their errors would be correlated, and intervals
    over prompts would be too narrow.

    own: id → what a prompt has of its own. num_before: pictures of each prompt that were drawn before, with the seeds
    ahead of these; it matters for prompts with a seed of their own. sources: id → what its pictures are made from.
    """
    of = {prompt_id: (own or {}).get(prompt_id, AS_OTHERS) for prompt_id in prompts}
    places = [(prompt_id, repeat) for prompt_id in prompts for repeat in range(settings.num_seeds)]
    sources = sources or {}
    alike = [
        (
            sizes[prompt_id],
            of[prompt_id].num_inference_steps,
            of[prompt_id].guidance_scale,
            prompt_id if prompt_id in sources else "",
        )
        for prompt_id, _ in places
    ]
    batches = _batches(alike, settings.batch_size)
    all_jobs: list[Job] = []
    for number, (prompt_id, repeat) in enumerate(places):
        first = of[prompt_id].seed
        seed = settings.seed + number if first is None else (first + num_before + repeat) % 2**31
        job = Job(prompt_id, prompts[prompt_id], seed, sizes[prompt_id], batches[number], of[prompt_id])
        all_jobs.append(replace(job, sources=sources.get(prompt_id, ())))
    return sorted(all_jobs, key=lambda job: job.batch)


def _batches(alike: Sequence[Hashable], batch_size: int) -> list[int]:
    """The batch number of each picture: the pictures of a batch are equal in this, in order, at most `batch_size`."""
    numbers: list[int] = []
    open_batches: dict[Hashable, int] = {}
    for kind in alike:
        number = open_batches.get(kind)
        if number is None or numbers.count(number) == batch_size:
            number = open_batches[kind] = max(numbers, default=-1) + 1
        numbers.append(number)
    return numbers


class ImageGenerator:
    """Draws with the base model, or with the snapshot last swapped in."""

    def __init__(self, model: Model, adapter: LoraConfig | None, settings: EvaluationConfig, resolution: int) -> None:
        """adapter: of every snapshot; None: another trainer makes them, and each may be of another shape."""
        self.model, self.pipeline = model, model.pipeline
        self.expected = lora.expected_shapes(model, adapter) if adapter else fitted.base_of(model)
        self._compiled = settings.torch_compile
        if self._compiled:
            self.model.denoiser.compile()
        self._settings, self._resolution = settings, resolution
        self._embeds: dict[tuple[tuple[str, ...], ...], dict[str, torch.Tensor]] = {}
        self._loaded: dict[str, torch.Size] | None = None
        """Shapes of the adapter in the pipeline."""
        self._adapts_text_encoder = self._offloaded = False
        self._swap: BlockSwap | None = None
        self._device = torch.device("cpu")
        self._at_once = settings.batch_size if model.family.draws_several else 1

    @property
    def device(self) -> torch.device:
        """The device that draws."""
        return self._device

    def move_to(self, device: torch.device) -> None:
        """Draw on this device. If a GPU cannot hold the whole model, it holds one part at a time."""
        if self._settings.blocks_to_swap and self._swap is None:
            total = len(blocks(self.model.denoiser)) if self.model.family.swaps_blocks else 0
            require(self._settings.blocks_to_swap, total, "evaluation")
            self._swap = BlockSwap(self.model.denoiser, self._settings.blocks_to_swap, device)
        self._device = device
        if self._offloaded:  # each part comes when it is called
            return
        try:
            self.pipeline.to(device)
        except RuntimeError as error:
            if not is_out_of_memory(error) or device.type == "cpu":
                raise
        else:
            return
        self._offload()

    def rest_until_asked(self, device: torch.device) -> None:
        """Draw on this device, but leave it to others for now."""
        self._device = device

    def rest(self) -> None:
        """Leave the device to others, until `move_to`."""
        if not self._offloaded:
            self.pipeline.to("cpu")
        free_memory()

    def swap(self, adapter: AdapterFile | None, strength: float = 1.0) -> None:
        """Load this adapter into the pipeline; None: the base model without an adapter.

        strength: diffusers' adapter weight: the factor of every update, also those of text encoders. With DoRA, what
        it multiplies is the update before it is brought to the learnt magnitude, as in PEFT; ComfyUI mixes the results.

        Raises:
            ModelError: the pipeline does not hold the file's weights afterwards, or it cannot be loaded while blocks of
                the model are swapped.
        """
        if adapter is None:
            self._unload()
            return
        if adapter.is_dora and self._swap:
            raise ModelError(
                f"{adapter.folder.name} is a DoRA, which looks at all weights as it is loaded, and blocks are swapped",
                "set evaluation.blocks_to_swap = 0",
            )
        if not (self._can_hotswap(adapter) and self._hotswap(adapter)):
            self._unload()  # also removes the remains of a load that failed halfway
            self._load(adapter, hotswap=False)
        self._check_loaded(adapter)
        if strength != 1.0:
            self.pipeline.set_adapters(ADAPTER, strength)  # the next load sets the scales of its file again

    def draw(self, all_jobs: list[Job]) -> Iterator[list[Image.Image]]:
        """Yield the pictures of one batch after another, in the order of the jobs; a batch too large comes in pieces.

        Raises:
            ModelError: a picture is not finite, or all black.
            torch.OutOfMemoryError: even one picture, with one part of the model at a time, does not fit.
        """
        if not self.model.family.draws_from_text and (bare := [job for job in all_jobs if not job.sources]):
            raise ModelError(f"{self.model.family.title} draws from sources, and {bare[0].prompt!r} has none")
        read = [(text, job.sources) for job in all_jobs for text in (job.prompt, job.own.negative_prompt)]
        self.model.encode_prompts([text for text, _ in read], [sources for _, sources in read])
        for number in sorted({job.batch for job in all_jobs}):
            batch = [job for job in all_jobs if job.batch == number]
            while batch:
                pictures = self._try(batch[: self._at_once])
                if pictures is None:
                    self._save_memory(min(len(batch), self._at_once))
                else:
                    yield pictures
                    batch = batch[len(pictures) :]

    def _try(self, piece: list[Job]) -> list[Image.Image] | None:
        """None: out of memory. The caller frees it: inside `except`, the traceback would still reference tensors."""
        try:
            return self._draw_batch(piece)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        return None

    def _save_memory(self, size: int) -> None:
        """After `size` pictures at once did not fit: draw half as many at once; if it was one, offload the model."""
        free_memory()
        if size > 1:
            self._at_once = (size + 1) // 2
            log.warning("out of memory: at most %d pictures are drawn at once", self._at_once)
        elif self._device.type != "cpu" and not self._offloaded:
            self._offload()
        else:
            raise torch.OutOfMemoryError("out of memory with one picture at a time")

    def _offload(self) -> None:
        free_memory()
        self._offloaded = True
        log.warning("out of memory: the parts of the model take turns on %s", self._device)
        self.pipeline.enable_model_cpu_offload(device=self._device)

    def describe(self) -> dict[str, Any]:
        """The settings with which the pictures of a result are drawn."""
        return {
            "device": str(self._device),
            "offload": self._offloaded,
            "blocks_to_swap": self._settings.blocks_to_swap,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "scheduler": type(self.pipeline.scheduler).__name__,
            "timestep_spacing": self.pipeline.scheduler.config.get("timestep_spacing"),
            **self.model.objective.description,
            "max_token_length": self.model.max_token_length,
            "clip_skip": self.model.clip_skip,
            "num_inference_steps": self._settings.num_inference_steps,
            "guidance_scale": self._settings.guidance_scale,
            "resolution": self._resolution,
            "batch_size": self._at_once,
            "torch_compile": self._compiled,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }

    def _draw_batch(self, batch: list[Job]) -> list[Image.Image]:
        (width, height), own = batch[0].size, batch[0].own
        guidance = self.model.family.guidance_arguments(own.guidance_scale or self._settings.guidance_scale)
        drawn = self.pipeline(
            **self._encode(batch) | guidance,  # without guidance, some families draw without negative prompts
            **self.model.family.source_arguments(batch[0].sources, batch[0].size),
            generator=[torch.Generator().manual_seed(job.seed) for job in batch],
            num_inference_steps=own.num_inference_steps or self._settings.num_inference_steps,
            height=height,
            width=width,
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
        return [on_white(picture) for picture in processor.numpy_to_pil(processor.pt_to_numpy(pictures_BCHW))]

    def _encode(self, batch: list[Job]) -> dict[str, torch.Tensor]:
        """Embeddings of a batch's prompts and negative prompts; encoded once, always in the same batch."""
        key = tuple((job.prompt, job.own.negative_prompt, job.prompt_id if job.sources else "") for job in batch)
        if key not in self._embeds:
            prompts, negative_prompts = [job.prompt for job in batch], [job.own.negative_prompt for job in batch]
            with torch.no_grad():
                self._embeds[key] = self.model.prompt_arguments(
                    prompts, negative_prompts, [job.sources for job in batch]
                )
        return self._embeds[key]

    def _can_hotswap(self, adapter: AdapterFile) -> bool:
        """Whether its weights can take the place of those in the pipeline."""
        in_place = not (adapter.adapts_text_encoder or adapter.is_dora)
        return in_place and self._loaded == adapter.shapes

    def _hotswap(self, adapter: AdapterFile) -> bool:
        try:
            self._load(adapter, hotswap=True)
        except (ValueError, RuntimeError, KeyError) as error:
            log.warning("hot-swap of %s failed, loading it again: %s", adapter.folder.name, error)
        return self._loaded is not None

    def _load(self, adapter: AdapterFile, *, hotswap: bool) -> None:
        self._forget(adapts_text_encoder=adapter.adapts_text_encoder)
        if self._compiled and not hotswap:  # keeps the scale in a tensor, so that another scale needs no compilation
            self.pipeline.enable_lora_hotswap(target_rank=None, check_compiled="ignore")
        self.pipeline.load_lora_weights(
            str(adapter.folder), weight_name=LORA_FILE, adapter_name=ADAPTER, hotswap=hotswap, use_safetensors=True
        )
        for part in self.model.parts.values():  # the layers of an adapter are new, and apply the dropout of their file
            part.eval()
        self._loaded = adapter.shapes

    def _unload(self) -> None:
        self.pipeline.unload_lora_weights()
        self._forget()

    def _forget(self, *, adapts_text_encoder: bool = False) -> None:
        """Nothing is loaded any more; embeddings computed by other text encoders are no longer valid.

        adapts_text_encoder: whether what comes next does.
        """
        self._loaded = None
        if self._adapts_text_encoder or adapts_text_encoder:
            self._embeds.clear()
        self._adapts_text_encoder = adapts_text_encoder

    def _check_loaded(self, adapter: AdapterFile) -> None:
        """Check that every weight and every scale in the pipeline equals the file's."""
        for name, part in self.model.parts.items():
            prefix = lora.prefix(name, part)
            state = part.state_dict()
            for key, value in adapter.weights.items():
                if key.startswith(prefix) and not _holds(state, key.removeprefix(prefix), value):
                    raise ModelError(f"the pipeline does not hold {key} of {adapter.folder.name} after the swap")
            for module_name, module in part.named_modules():
                scaling = getattr(module, "scaling", None)
                if not isinstance(scaling, dict):
                    continue
                scale = adapter.scales.get(prefix + module_name)
                if scale is None or abs(float(scaling[ADAPTER]) - scale) > 1e-6:
                    raise ModelError(
                        f"the pipeline applies scale {scaling[ADAPTER]} to {prefix}{module_name}, the file says {scale}"
                    )


def _holds(state: dict[str, torch.Tensor], key: str, value: torch.Tensor) -> bool:
    """Whether a part's state has this weight of the file, in its own precision. DoRA's keys have no last `.weight`."""
    stem = key.removesuffix(".weight")
    loaded = state.get(f"{stem}.{ADAPTER}.weight")
    return loaded is not None and torch.equal(loaded.cpu(), value.to(loaded.dtype))
