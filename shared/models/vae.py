"""A VAE's configuration: how its latents become the denoiser's, and what cannot be trained with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.errors import ModelError

CURE = "latents must be drawn in the units they were trained in: take a VAE made for this family"


def require_decodable(config: Mapping[str, Any], model: str, *, is_sdxl: bool) -> None:
    """Whether the pipeline that draws undoes all that training does to latents.

    SDXL's pipeline knows `latents_mean` with `latents_std`; SD 1.x's and 2.x's know neither, and none of them knows
    `shift_factor`.

    Raises:
        ModelError: it does not; the pictures would be wrong in silence.
    """
    normalized = [key for key in ("latents_mean", "latents_std") if config.get(key) is not None]
    unknown = normalized if not is_sdxl or len(normalized) == 1 else []
    if config.get("shift_factor"):
        unknown = [*unknown, "shift_factor"]
    if unknown:
        raise ModelError(
            f"the VAE of {model} sets {' and '.join(unknown)}, which its pipeline ignores when it draws", CURE
        )
