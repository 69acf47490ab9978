"""All families. To add one, add a file to this folder, or to `flow` if it learns by flow matching, and a line here."""

from __future__ import annotations

from tasks.text_to_image.families.family import Family
from tasks.text_to_image.families.flow.flux1 import Flux1Dev, Flux1Kontext, Flux1Schnell
from tasks.text_to_image.families.flow.flux2 import Flux2Dev, Flux2Klein4B, Flux2Klein9B
from tasks.text_to_image.families.flow.krea2 import Krea2
from tasks.text_to_image.families.flow.qwen_image import QwenImage
from tasks.text_to_image.families.flow.qwen_image_21 import QwenImage21
from tasks.text_to_image.families.flow.qwen_image_edit import QwenImageEdit
from tasks.text_to_image.families.flow.qwen_image_edit_plus import QwenImageEditPlus
from tasks.text_to_image.families.flow.stable_diffusion_3 import (
    StableDiffusion3,
    StableDiffusion35Large,
    StableDiffusion35Medium,
)
from tasks.text_to_image.families.flow.z_image import PocketFlow, ZImage
from tasks.text_to_image.families.stable_diffusion import Pocket, StableDiffusion1, StableDiffusion2
from tasks.text_to_image.families.stable_diffusion_xl import StableDiffusionXL

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        StableDiffusion1(),
        StableDiffusion2(),
        StableDiffusionXL(),
        ZImage(),
        Flux1Kontext(),
        Flux1Dev(),
        Flux1Schnell(),
        Flux2Klein4B(),
        Flux2Klein9B(),
        Flux2Dev(),
        Krea2(),
        StableDiffusion3(),
        StableDiffusion35Large(),
        StableDiffusion35Medium(),
        QwenImageEdit(),
        QwenImageEditPlus(),
        QwenImage(),
        QwenImage21(),
    )
}
"""By name."""

EMBEDDED: dict[str, Pocket | PocketFlow] = {family.name: family for family in (Pocket(), PocketFlow())}
"""Of the models that come with Darkroom, by the keyword of `model.path`."""


def usual() -> Family:
    """The first: stands in where nothing says which family a model is of."""
    return next(iter(FAMILIES.values()))
