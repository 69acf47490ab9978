"""Qwen-Image-Edit-2509 and -2511: Qwen-Image-Edit with up to three sources; its text encoder sees small copies of them.

Shapes: as in `family`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.data import buckets
from tasks.text_to_image.families.flow.packing import PATCH
from tasks.text_to_image.families.flow.qwen_image_edit import (
    PICTURE_TOKEN,
    SOURCE_SIDE,
    SOURCE_STEP,
    QwenImageEdit,
    brought_to,
)

if TYPE_CHECKING:
    from PIL import Image

    from tasks.text_to_image.models.memory import ModelShapes

SEEN_SIDE = 384
"""Of the square that has the area of a source as the text encoder sees it, pixels."""
SEEN_TOKENS = (SEEN_SIDE // 28) ** 2
SOURCE_TEXT = f"Picture {{number}}: <|vision_start|>{PICTURE_TOKEN}<|vision_end|>"
"""Before the instruction, for each source."""
NAMES = r"qwen[-_]?image[-_]?edit[-_]?(plus|25)"


class QwenImageEditPlus(QwenImageEdit):
    """Qwen-Image-Edit-2509, -2511 and models made from them."""

    name, title = "qwen-image-edit-plus", "Qwen-Image-Edit-Plus"
    header_name = hub_name = NAMES
    architectures = {"flow": "Qwen-Image-Edit-Plus"}
    pipeline_class = "QwenImageEditPlusPipeline"
    completed_by = undistilled = "Qwen/Qwen-Image-Edit-2511"
    most_sources = 3  # its authors: best with one to three
    draws_several = False

    def tokens(self, model: ModelShapes, resolution: int) -> float:
        """Of a square picture, its sources, the longest caption, and the sources as the text encoder sees them."""
        picture, source = ((side / model.vae_factor / PATCH) ** 2 for side in (resolution, SOURCE_SIDE))
        return picture + max(model.num_sources, 1) * (source + SEEN_TOKENS) + self.max_tokens

    def source_arguments(self, sources: Sequence[Image.Image], size: buckets.Size) -> dict[str, Any]:
        return {"image": [*sources]} if sources else {}

    def looked_at(self, source: Image.Image) -> Image.Image:
        from PIL import Image

        return source.resize(brought_to(*source.size, SEEN_SIDE, SOURCE_STEP), Image.Resampling.LANCZOS)

    def spelled_out(self, template: str, caption: str, counts: Sequence[int]) -> str:
        sources = [
            SOURCE_TEXT.format(number=number).replace(PICTURE_TOKEN, PICTURE_TOKEN * count)
            for number, count in enumerate(counts, 1)
        ]
        return template.format("".join(sources) + caption)
