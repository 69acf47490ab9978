"""What a family may say of itself, shown on families of which some say it."""

from __future__ import annotations

import pytest

from shared.config.loading import parse_config
from shared.errors import ConfigError
from tasks.text_to_image.families.flow.z_image import ZImage
from tasks.text_to_image.models import suitability


def test_a_guidance_scale_for_training_is_refused_where_the_denoiser_takes_none() -> None:
    asked = parse_config({"data": {"path": "p"}, "train": {"guidance_scale": 3.5}, "evaluation": {"scheduler": "own"}})
    with pytest.raises(ConfigError, match=r"train\.guidance_scale is 3\.5, but Z-Image takes no guidance scale"):
        suitability.require(asked, ZImage())

    class Guided(ZImage):
        embeds_guidance = True

    suitability.require(asked, Guided())
