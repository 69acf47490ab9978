"""Where a base model is, checked before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared import base_model
from shared.errors import ModelError
from tests.conftest import paper_model


def test_pocket_is_the_embedded_model() -> None:
    assert base_model.resolve("pocket") == str(base_model.POCKET_STABLE_DIFFUSION)
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
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(ModelError, match="is a FluxPipeline; only StableDiffusionPipeline"):
        base_model.identify(str(folder))


def test_a_file_must_be_safetensors(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"1")
    assert len(base_model.identify(str(tmp_path / "model.safetensors"))["fingerprint"]) == 64
    (tmp_path / "model.ckpt").write_bytes(b"1")
    with pytest.raises(ModelError, match=r"model\.ckpt is not a \.safetensors file") as caught:
        base_model.identify(str(tmp_path / "model.ckpt"))
    assert "pickled" in caught.value.hint


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
    (folder / "vae").rmdir()
    (folder / "tokenizer").rmdir()
    with pytest.raises(ModelError, match="lacks vae, tokenizer"):
        base_model.identify(str(folder))


@pytest.mark.parametrize("path", ["nowhere", "/no/where", "./model", "a/b/c", "", "../x", "--flag/x"])
def test_a_path_that_is_nothing_is_refused_with_its_value(path: str) -> None:
    with pytest.raises(ModelError, match=r"does not exist|is not a diffusers"):
        base_model.identify(path)
