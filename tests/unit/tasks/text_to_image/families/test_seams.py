"""What a family may say of itself, shown on families of which some say it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.config.loading import parse_config
from shared.data.prompt_file import OwnPrompt
from shared.errors import ConfigError
from tasks.text_to_image import task
from tasks.text_to_image.families.flow.z_image import ZImage
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.models import suitability
from tests.conftest import create_run, tiny_config


def test_a_guidance_scale_for_training_is_refused_where_the_denoiser_takes_none() -> None:
    asked = parse_config({"data": {"path": "p"}, "train": {"guidance_scale": 3.5}, "evaluation": {"scheduler": "own"}})
    with pytest.raises(ConfigError, match=r"train\.guidance_scale is 3\.5, but Z-Image takes no guidance scale"):
        suitability.require(asked, ZImage())

    class Guided(ZImage):
        embeds_guidance = True

    suitability.require(asked, Guided())


@pytest.mark.parametrize("name", ["flux1-dev", "flux1-schnell", "flux2-dev"])
def test_negative_prompts_without_effect_are_said(name: str) -> None:
    prompts = [OwnPrompt(1, "a dress"), OwnPrompt(3, "a coat", "blurry"), OwnPrompt(4, "a hat", "dark")]
    said = suitability.negative_prompts_notice(prompts, FAMILIES[name])
    assert said
    assert "have no effect (line 3, 4)" in said
    assert suitability.negative_prompts_notice(prompts[:1], FAMILIES[name]) is None
    assert suitability.negative_prompts_notice(prompts, FAMILIES["sd1"]) is None


def test_they_are_said_when_the_run_starts(tiny_flow: Callable[[str], Path], pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("a coat --n blurry\n", "utf-8")
    sections = {"evaluation": {"scheduler": "own", "prompts": str(tmp_path / "mine.txt")}}
    config = tiny_config(tmp_path, "run", tiny_flow("flux1-dev"), pictures, sections)
    said = [notice for notice in task.warnings(create_run(config), config) if "negative" in notice]
    assert len(said) == 1
    assert said[0].startswith("FLUX.1 dev draws without negative prompts")
