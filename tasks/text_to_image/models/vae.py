"""A VAE's configuration: how its latents become the denoiser's, and what cannot be trained with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from shared.errors import ModelError

CURE = "take a VAE made for this family: latents must be decoded in the units they were trained in"


def require_decodable(config: Mapping[str, Any], model: str, undone: Collection[str]) -> None:
    """Whether the pipeline that draws undoes all that training does to latents.

    undone: the settings that the family's pipeline undoes. A mean without a deviation, and the other way round, is
    ignored by all of them.

    Raises:
        ModelError: it does not; the pictures would be wrong in silence.
    """
    normalized = [key for key in ("latents_mean", "latents_std") if config.get(key) is not None]
    unknown = [key for key in normalized if key not in undone or len(normalized) == 1]
    if config.get("shift_factor") and "shift_factor" not in undone:
        unknown.append("shift_factor")
    if unknown:
        raise ModelError(
            f"the VAE of {model} sets {' and '.join(unknown)}, which its pipeline ignores when it draws", CURE
        )
