"""A miniature of each flow family, of its true classes, with seeded random weights: one in each file, one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline
from torch import nn

from tests.tiny_flow import flux1, flux2, krea2, qwen_image, qwen_image_21, stable_diffusion_3, z_image


@dataclass(frozen=True)
class Miniature:
    """A family's pipeline for tests."""

    build: Callable[[], Any]
    """The pipeline; the same weights each time. 32 × 32 pictures."""
    true_parts: Callable[[], dict[str, nn.Module]]
    """The parts with weights in their true sizes; called on torch's meta device."""
    guidance: Mapping[str, Any]
    """How a person asks the pipeline for `evaluation.guidance_scale` 3, and what else the family needs."""
    num_sources: int = 0
    """Of each picture it is trained on."""
    resolution: int = 32
    size_multiple: int = 8
    """Of the sides of its pictures, in pixels."""
    beside: Mapping[str, Callable[[], Any]] = field(default_factory=dict[str, Callable[[], Any]])
    """Folder → a part that the pipeline cannot save where torchvision is missing."""

    def save(self, folder: Path) -> None:
        """The pipeline's folder."""
        self.build().save_pretrained(folder)
        for name, part in self.beside.items():
            part().save_pretrained(folder / name)


def plain(folder: Path, **arguments: Any) -> Any:
    """A pipeline's folder as plain diffusers loads it; with a stand-in for a processor that needs torchvision."""
    if not ((folder / "processor").is_dir() and (folder / "tokenizer").is_dir()):
        return DiffusionPipeline.from_pretrained(folder, **arguments)
    pipeline: Any = DiffusionPipeline.from_pretrained(folder, processor=None, **arguments)
    pictures = qwen_image.Qwen2VLImageProcessorPil.from_pretrained(folder / "processor")
    pipeline.processor = qwen_image.Processor(pictures, pipeline.tokenizer)
    return pipeline


MINIATURES = {
    "z-image": Miniature(z_image.build, z_image.true_parts, {"guidance_scale": 2.0}),
    "flux1-dev": Miniature(flux1.dev, flux1.true_parts, {"guidance_scale": 3.0}),
    "flux1-kontext": Miniature(
        flux1.kontext,
        flux1.true_parts,
        {"guidance_scale": 3.0, "max_area": 32 * 32, "_auto_resize": False},
        num_sources=1,
    ),
    "flux1-schnell": Miniature(flux1.schnell, flux1.true_parts, {"max_sequence_length": 256}),
    "flux2-klein-4b": Miniature(
        flux2.klein, flux2.true_klein_4b, {"guidance_scale": 3.0}, num_sources=2, resolution=64
    ),
    "flux2-dev": Miniature(flux2.dev, flux2.true_dev, {"guidance_scale": 3.0}),
    "krea2": Miniature(krea2.build, krea2.true_parts, {"guidance_scale": 2.0}),
    "sd3.5-medium": Miniature(stable_diffusion_3.build, stable_diffusion_3.true_parts, {"guidance_scale": 3.0}),
    "qwen-image-edit": Miniature(
        qwen_image.edit,
        qwen_image.true_parts,
        {"true_cfg_scale": 3.0, "negative_prompt": [""]},
        num_sources=1,
        resolution=64,
        size_multiple=32,
        beside={"processor": qwen_image.picture_processor},
    ),
    "qwen-image-edit-plus": Miniature(
        qwen_image.edit_plus,
        qwen_image.true_parts,
        {"true_cfg_scale": 3.0, "negative_prompt": [""]},
        num_sources=2,
        resolution=64,
        size_multiple=32,
        beside={"processor": qwen_image.picture_processor},
    ),
    "qwen-image": Miniature(
        qwen_image.build, qwen_image.true_parts, {"true_cfg_scale": 3.0, "negative_prompt": ["", ""]}
    ),
    "qwen-image-2.1": Miniature(
        qwen_image_21.build,
        qwen_image_21.true_parts,
        {"true_cfg_scale": 3.0, "negative_prompt": ["", ""]},
        size_multiple=32,
    ),
}
"""By the family's name."""

SIBLINGS = {
    name: Miniature(
        partial(stable_diffusion_3.build, name), partial(stable_diffusion_3.true_parts, name), {"guidance_scale": 3.0}
    )
    for name in ("sd3", "sd3.5-large")
}
"""Likewise of families that differ in little from one of the above."""

TOO_LARGE: dict[str, Callable[[], dict[str, nn.Module]]] = {"flux2-klein-9b": flux2.true_klein_9b}
"""The true parts of a family that is told from another by its width alone, so that nothing small is of it."""
