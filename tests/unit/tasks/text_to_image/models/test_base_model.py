"""Where a base model is, checked before anything is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from pocket import Z_IMAGE
from shared.config.schema import ModelConfig
from shared.errors import ConfigError, ModelError
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.families.unet import FIRST_CONVOLUTION
from tasks.text_to_image.models import base_model
from tests.conftest import RunMaker, paper_model


def test_keywords_stand_for_the_embedded_models() -> None:
    assert base_model.resolve("pocket") == str(base_model.POCKET_STABLE_DIFFUSION)
    assert base_model.resolve("pocket-flow") == str(Z_IMAGE)
    assert base_model.resolve("owner/name") == "owner/name"


def test_a_folder_is_told_by_its_path_and_fingerprint(tmp_path: Path) -> None:
    folder = paper_model(tmp_path / "model")
    first = base_model.identify(str(folder))
    assert first["path"] == str(folder)
    assert base_model.identify(str(folder)) == first
    (folder / "unet" / "model.safetensors").write_bytes(b"12345")
    assert base_model.identify(str(folder))["fingerprint"] != first["fingerprint"]


def test_a_pipeline_of_another_class_is_refused_by_name(tmp_path: Path) -> None:
    folder = paper_model(tmp_path / "model")
    (folder / "model_index.json").write_text('{"_class_name": "HunyuanDiTPipeline"}')
    with pytest.raises(ModelError, match="is a HunyuanDiTPipeline, and models of this kind cannot be trained"):
        base_model.identify(str(folder))


def test_a_file_must_be_safetensors(tmp_path: Path) -> None:
    path = _single_file(tmp_path / "model.safetensors", "cond_stage_model.transformer.text_model.x")
    assert len(base_model.identify(str(path))["fingerprint"]) == 64
    (tmp_path / "model.ckpt").write_bytes(b"1")
    with pytest.raises(ModelError, match=r"model\.ckpt is not a \.safetensors file") as caught:
        base_model.identify(str(tmp_path / "model.ckpt"))
    assert "pickled" in caught.value.hint


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = _single_file(tmp_path / "model.safetensors", "cond_stage_model.transformer.text_model.x")
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ModelError, match="is not a whole"):
        base_model.identify(str(path))


@pytest.mark.parametrize(
    ("key", "family"),
    [
        ("conditioner.embedders.1.model.ln_final.bias", "sdxl"),
        ("cond_stage_model.model.ln_final.bias", "sd2"),
        ("cond_stage_model.transformer.text_model.final_layer_norm.bias", "sd1"),
    ],
)
def test_a_single_file_names_its_family_by_its_text_encoders(tmp_path: Path, key: str, family: str) -> None:
    assert base_model.family(str(_single_file(tmp_path / "model.safetensors", key))) is FAMILIES[family]


def test_a_single_file_of_something_else_is_refused(tmp_path: Path) -> None:
    lora = _single_file(tmp_path / "lora.safetensors", "unet.down_blocks.0.lora_A.weight")
    with pytest.raises(ModelError, match="not a whole SD"):
        base_model.identify(str(lora))
    inpainting = _single_file(tmp_path / "inpainting.safetensors", "cond_stage_model.transformer.x", channels=9)
    with pytest.raises(ModelError, match="in-painting"):
        base_model.identify(str(inpainting))


@pytest.mark.parametrize(
    ("pipeline", "unet", "family"),
    [
        ("StableDiffusionPipeline", {"cross_attention_dim": 768}, "sd1"),
        ("StableDiffusionPipeline", {"cross_attention_dim": 1024}, "sd2"),
        ("StableDiffusionPipeline", {"cross_attention_dim": 32, "use_linear_projection": True}, "sd2"),
        ("StableDiffusionPipeline", {"cross_attention_dim": 32, "use_linear_projection": False}, "sd1"),
        ("StableDiffusionXLPipeline", {"cross_attention_dim": 2048}, "sdxl"),
    ],
)
def test_a_folder_names_its_family_by_class_and_width(
    tmp_path: Path, pipeline: str, unet: dict[str, object], family: str
) -> None:
    folder = paper_model(tmp_path / "model", pipeline)
    (folder / "unet" / "config.json").write_text(json.dumps(unet))
    assert base_model.family(str(folder)) is FAMILIES[family]


def test_the_embedded_models_are_of_two_families() -> None:
    assert base_model.family("pocket") is FAMILIES["sd1"]
    assert base_model.family("pocket-flow") is FAMILIES["z-image"]


def test_sdxl_needs_its_second_text_encoder(tmp_path: Path) -> None:
    folder = paper_model(tmp_path / "model", "StableDiffusionXLPipeline")
    with pytest.raises(ModelError, match="lacks text_encoder_2, tokenizer_2"):
        base_model.identify(str(folder))
    for part in ("text_encoder_2", "tokenizer_2"):
        (folder / part).mkdir()
    assert base_model.identify(str(folder))["fingerprint"]


def test_a_hub_id_names_its_family_once_it_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert base_model.family("nobody/nothing") is None
    folder = paper_model(tmp_path / "snapshot")
    (folder / "unet" / "config.json").write_text('{"cross_attention_dim": 1024}')
    monkeypatch.setattr(base_model, "try_to_load_from_cache", lambda path, name, **_: str(folder / name))
    assert base_model.family("owner/name") is FAMILIES["sd2"]


def test_a_hub_id_is_left_for_loading_to_check() -> None:
    assert base_model.identify("owner/name-1.5") == {"path": "owner/name-1.5"}


@pytest.mark.parametrize("index", [None, b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, index: bytes | None) -> None:
    if index is not None:
        (tmp_path / "model_index.json").write_bytes(index)
    with pytest.raises(ModelError, match="is not a diffusers model folder"):
        base_model.identify(str(tmp_path))


def test_a_half_downloaded_folder_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    folder = paper_model(tmp_path / "model")
    shutil.rmtree(folder / "vae")
    shutil.rmtree(folder / "tokenizer")
    with pytest.raises(ModelError, match="lacks vae, tokenizer"):
        base_model.identify(str(folder))


@pytest.mark.parametrize("path", ["nowhere", "/no/where", "./model", "a/b/c", "", "../x", "--flag/x"])
def test_a_path_that_is_nothing_is_refused_with_its_value(path: str) -> None:
    with pytest.raises(ModelError, match=r"does not exist|is not a diffusers"):
        base_model.identify(path)


def _single_file(path: Path, key: str, channels: int = 4) -> Path:
    """A checkpoint of two tensors: a UNet's first convolution, and `key`."""
    first = np.zeros((1, channels, 3, 3), np.float16)
    save_file({FIRST_CONVOLUTION: first, key: np.zeros(1, np.float16)}, path)
    return path


def test_a_description_of_another_family_than_the_files_is_refused_before_a_run_is_made(
    make_paper_run: RunMaker, tmp_path: Path
) -> None:
    file = _single_file(tmp_path / "model.safetensors", "conditioner.embedders.1.model.ln_final.bias")
    described = paper_model(tmp_path / "described")
    with pytest.raises(ConfigError, match=r"single_file_config is SD 1\.x, the file is SDXL") as refused:
        make_paper_run(model={"path": str(file), "single_file_config": str(described)})
    assert "a model of SDXL" in refused.value.hint
    assert not (tmp_path / "runs").exists()
    base_model.require_same_description(ModelConfig(path=str(file), single_file_config="owner/not-downloaded"))


def test_a_description_is_a_folder(tmp_path: Path) -> None:
    file = _single_file(tmp_path / "model.safetensors", "conditioner.embedders.1.model.ln_final.bias")
    for described, problem in ((file, "is no folder"), (tmp_path / "nothing", "does not exist")):
        settings = ModelConfig(path=str(file), single_file_config=str(described))
        with pytest.raises(ConfigError, match=rf"model\.single_file_config .* {problem}"):
            base_model.require_same_description(settings)
