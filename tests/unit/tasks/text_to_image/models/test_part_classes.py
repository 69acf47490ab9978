"""A folder with another model's parts in it is refused by both names, before anything is loaded or written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import UnknownModelError
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.models import base_model
from tests.conftest import Warm

OTHERS = {
    "flux1-dev": ("qwen-image", "FLUX.1 dev or FLUX.1 schnell", "QwenImageTransformer2DModel"),
    "qwen-image": ("flux1-dev", "Qwen-Image", "FluxTransformer2DModel (FLUX.1 Kontext or FLUX.1 dev"),
    "qwen-image-2.1": ("qwen-image", "Qwen-Image 2.1", "QwenImageTransformer2DModel"),
    "sd3.5-medium": ("z-image", "SD3.5 large or SD3.5 medium", "ZImageTransformer2DModel (Z-Image)"),
    "z-image": ("krea2", "Z-Image", "Krea2Transformer2DModel (Krea 2)"),
    "krea2": ("sd3.5-medium", "Krea 2", "SD3Transformer2DModel"),
    "flux2-dev": ("flux1-dev", "FLUX.2 dev", "FluxTransformer2DModel"),
}
"""Family → another one, whose transformer lies in its folder, and what the message names."""


def mixed(folder: Path, other: Path, part: str, to: Path) -> Path:
    """The folder with a part of another; configuration files only."""
    only = shutil.ignore_patterns("*.safetensors")
    shutil.copytree(folder, to, ignore=only)
    shutil.rmtree(to / part)
    shutil.copytree(other / part, to / part, ignore=only)
    return to


@pytest.mark.parametrize("name", OTHERS)
def test_a_denoiser_of_another_architecture_is_named_beside_the_pipelines(
    name: str, tiny_flow: Callable[[str], Path], tmp_path: Path
) -> None:
    other, title, made = OTHERS[name]
    folder = mixed(tiny_flow(name), tiny_flow(other), FAMILIES[name].denoiser, tmp_path / "mixed")
    with pytest.raises(UnknownModelError) as refused:
        base_model.family(str(folder))
    assert title in str(refused.value)
    assert f"its {FAMILIES[name].denoiser} is a {made}" in str(refused.value)
    assert refused.value.hint


def test_klein_with_the_transformer_of_dev_and_a_text_encoder_of_another_model_are_told_too(
    tiny_flow: Callable[[str], Path], tmp_path: Path
) -> None:
    klein, dev = tiny_flow("flux2-klein-4b"), tiny_flow("flux2-dev")
    with pytest.raises(UnknownModelError, match=r"klein 9B.*is configured otherwise"):
        base_model.family(str(mixed(klein, dev, FAMILIES["flux2-dev"].denoiser, tmp_path / "transformer")))
    with pytest.raises(UnknownModelError, match=r"its text_encoder is a Mistral3.*, not a Qwen3"):
        base_model.family(str(mixed(klein, dev, "text_encoder", tmp_path / "encoder")))


def test_the_command_answers_in_one_error_and_writes_nothing(
    tiny_flow: Callable[[str], Path], pictures: Path, tmp_path: Path, warm: Warm
) -> None:
    unknown = tmp_path / "unknown"
    shutil.copytree(tiny_flow("z-image"), unknown, ignore=shutil.ignore_patterns("*.safetensors"))
    index = unknown / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "_class_name": "WanPipeline"}))
    part = FAMILIES["z-image"].denoiser
    for folder in (unknown, mixed(tiny_flow("z-image"), tiny_flow("krea2"), part, tmp_path / "mixed")):
        config = tmp_path / "run.toml"
        config.write_text(
            f'[run]\noutput_dir = "{tmp_path / "runs"}"\n[model]\npath = "{folder}"\n[data]\npath = "{pictures}"\n'
            '[evaluation]\nscheduler = "own"\n'
        )
        program = warm.start("run", "train", config, "--no-dashboard")
        assert program.wait() == 2
        assert program.stderr().count("error: ") == program.stderr().count("hint: ") == 1
        assert str(folder) in program.stderr()
        assert not (tmp_path / "runs").exists()
