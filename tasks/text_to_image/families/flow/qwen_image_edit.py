"""Qwen-Image-Edit: Qwen-Image, tuned to edit a source, which its text encoder looks at beside the instruction.

The source's tokens follow the picture's. The pipeline brings a source to about a megapixel, whatever is drawn.

Shapes: as in `family`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.data import buckets
from tasks.text_to_image.families.flow.caption_lengths import mask, padded
from tasks.text_to_image.families.flow.packing import PATCH
from tasks.text_to_image.families.flow.qwen_image import QwenImage
from tasks.text_to_image.models.presets import Size
from tasks.text_to_image.models.weights_header import Tensors

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from shared.config.schema import DataConfig
    from tasks.text_to_image.families.model import Conditioning, Model
    from tasks.text_to_image.models.lora_file import Module
    from tasks.text_to_image.models.memory import ModelShapes

PROCESSOR = "processor"
PICTURE_TOKEN = "<|image_pad|>"
SOURCE_SIDE, SOURCE_STEP = 1024, 32
"""Of the square that has a source's area, and what its sides are multiples of, pixels."""
LONGEST = 4
"""Most a source's sides differ by, as a picture's."""
SEEN_TOKENS = (SOURCE_SIDE // 28) ** 2
"""Of a source, as the text encoder sees it."""


class QwenImageEdit(QwenImage):
    """Qwen-Image-Edit."""

    name, title, base_version = "qwen-image-edit", "Qwen-Image-Edit", "qwen_image_edit"
    header_name = r"qwen[-_]?image[-_]?edit(?![-_]?(plus|25))"
    hub_name = r"qwen[-_]?image[-_]?edit(?![-_]?(plus|25))"
    architectures = {"flow": "Qwen-Image-Edit"}
    pipeline_class = "QwenImageEditPipeline"
    completed_by = undistilled = "Qwen/Qwen-Image-Edit"
    most_sources, needs_sources, reads_sources, draws_from_text = 1, True, True, False
    # GB         batch  checkpointing  rank  pictures drawn at once
    sizes = {
        8: Size(1, True, 16, 0, "fp8", resolution=768, blocks_to_swap=58),
        10: Size(1, True, 16, 0, "fp8", blocks_to_swap=56),
        12: Size(1, True, 16, 0, "fp8", blocks_to_swap=50),
        16: Size(1, True, 16, 0, "fp8", blocks_to_swap=40),
        24: Size(1, True, 16, 0, "fp8", blocks_to_swap=16),
        32: Size(1, True, 16, 1, "fp8", blocks_to_swap=30, evaluation_blocks_to_swap=52),
        40: Size(1, True, 16, 1, blocks_to_swap=42, evaluation_blocks_to_swap=46),
        48: Size(1, True, 16, 1, blocks_to_swap=32, evaluation_blocks_to_swap=44),
        80: Size(1, True, 16, 1, evaluation_blocks_to_swap=30),
    }

    @property
    def parts(self) -> tuple[str, ...]:
        return (*super().parts, PROCESSOR)

    def recognises_file(self, tensors: Tensors, file: Path) -> bool:
        """By the file's name: its layers are Qwen-Image's."""
        return bool(re.search(self.hub_name, file.name.lower())) and super().recognises_file(tensors, file)

    def recognises_lora(self, modules: Mapping[str, Module]) -> bool:
        """Its modules are Qwen-Image's, and so it is told by the header."""
        return False

    def tokens(self, model: ModelShapes, resolution: int) -> float:
        """Of a square picture, its source, the longest caption, and the source as the text encoder sees it."""
        picture, source = ((side / model.vae_factor / PATCH) ** 2 for side in (resolution, SOURCE_SIDE))
        return picture + source + self.max_tokens + SEEN_TOKENS

    def loaded_apart(self, folder: Path) -> dict[str, Any]:
        """What prepares pictures for the text encoder, without the processor around it, which needs torchvision."""
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        return {PROCESSOR: Qwen2VLImageProcessorPil.from_pretrained(folder / PROCESSOR)}

    def source_sizes(self, data: DataConfig, multiple: int) -> list[buckets.Size]:
        """The sizes to which the pipeline brings pictures of these sizes."""
        sides = range(SOURCE_SIDE // LONGEST, SOURCE_SIDE * LONGEST + 1, SOURCE_STEP)
        kept = [(width, height) for width in sides for height in sides if brought_to(width, height) == (width, height)]
        able = [size for size in kept if max(size) <= LONGEST * min(size)]
        return able if data.buckets else [(SOURCE_SIDE, SOURCE_SIDE)]

    def source_arguments(self, sources: Sequence[Image.Image], size: buckets.Size) -> dict[str, Any]:
        return {"image": sources[0]} if sources else {}

    def looked_at(self, source: Image.Image) -> Image.Image:
        """A source as the text encoder sees it."""
        return source

    def spelled_out(self, template: str, caption: str, counts: Sequence[int]) -> str:
        """What the text encoder reads. counts: of each source's tokens."""
        return template.format(caption).replace(PICTURE_TOKEN, PICTURE_TOKEN * counts[0])

    def encode_instructions(
        self, model: Model, captions: list[str], sources: Sequence[Sequence[Image.Image]]
    ) -> Conditioning:
        """As `encode_captions`; each source's own tokens stand where the text has one."""
        pipeline, encoder = model.pipeline, model.pipeline.text_encoder
        looked_at = [self.looked_at(source) for each in sources for source in each]
        seen = pipeline.processor(images=looked_at, return_tensors="pt")
        counts = iter((seen["image_grid_thw"].prod(dim=1) // pipeline.processor.merge_size**2).tolist())
        texts = [
            self.spelled_out(pipeline.prompt_template_encode, caption, [next(counts) for _ in each])
            for caption, each in zip(captions, sources, strict=True)
        ]
        tokens = pipeline.tokenizer(texts, padding=True, return_tensors="pt").to(encoder.device)
        states_BLD = encoder(
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            pixel_values=seen["pixel_values"].to(encoder.device, encoder.dtype),
            image_grid_thw=seen["image_grid_thw"].to(encoder.device),
            output_hidden_states=True,
        ).hidden_states[-1]
        used_BL, cut = tokens.attention_mask.bool(), pipeline.prompt_template_encode_start_idx
        return padded([states_LD[used_L][cut:] for states_LD, used_L in zip(states_BLD, used_BL, strict=True)])

    def instruction_arguments(
        self, model: Model, prompts: list[str], negative_prompts: list[str], sources: Sequence[Sequence[Image.Image]]
    ) -> dict[str, Any]:
        arguments: dict[str, Tensor] = {}
        for prefix, texts in (("", prompts), ("negative_", negative_prompts)):
            encoded = {name: value.to(model.device) for name, value in model.encode_captions(texts, sources).items()}
            arguments[f"{prefix}prompt_embeds"] = encoded["hidden_states"]
            arguments[f"{prefix}prompt_embeds_mask"] = mask(encoded)
        return arguments


def brought_to(width: int, height: int, side: int = SOURCE_SIDE, step: int = SOURCE_STEP) -> buckets.Size:
    """The size to which the pipeline brings a source: of the area of a square of this side."""
    ratio = width / height
    wide = (side**2 * ratio) ** 0.5
    return round(wide / step) * step, round(wide / ratio / step) * step
