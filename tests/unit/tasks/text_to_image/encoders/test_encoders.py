import hashlib
import shutil
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import HfApi, constants
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, CLIPProcessor, CLIPTokenizer, SiglipImageProcessorPil, SiglipModel

from pocket.tokenizer import MAX_LENGTH
from shared.errors import ModelError
from tasks.text_to_image.encoders import files
from tasks.text_to_image.encoders.encoder import pad_to_square
from tasks.text_to_image.encoders.files import locate
from tasks.text_to_image.encoders.loading import load_encoder


def test_embeddings_equal_the_librarys_own_projected_ones(clip_folder: Path, garments: list[Image.Image]):
    encoder = load_encoder(str(clip_folder))
    inputs = CLIPProcessor.from_pretrained(clip_folder)(text=["a red dress"], images=garments[0], return_tensors="pt")
    with torch.inference_mode():
        expected = CLIPModel.from_pretrained(clip_folder)(**inputs)
    np.testing.assert_allclose(encoder.embed_image(garments[0]), expected.image_embeds[0], atol=1e-5)
    np.testing.assert_allclose(encoder.embed_text("a red dress"), expected.text_embeds[0], atol=1e-5)


def test_vectors_are_float32_of_length_one(clip_folder: Path, dinov2_folder: Path, garments: list[Image.Image]):
    for folder in (clip_folder, dinov2_folder):
        vector = load_encoder(str(folder)).embed_image(garments[0])
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_a_text_longer_than_the_text_tower_is_cut(clip_folder: Path):
    assert np.isfinite(load_encoder(str(clip_folder)).embed_text("a red dress " * 100)).all()


def test_the_hem_of_a_tall_picture_changes_its_embedding(clip_folder: Path):
    plain = Image.new("RGB", (40, 120), "white")
    hem = plain.copy()
    hem.paste("red", (0, 110, 40, 120))
    encoder = load_encoder(str(clip_folder))
    assert not np.allclose(encoder.embed_image(plain), encoder.embed_image(hem), atol=1e-3)


def test_padding_takes_the_borders_colour_and_cuts_nothing():
    picture = Image.new("RGB", (10, 30), (200, 210, 220))
    picture.paste("red", (4, 10, 6, 20))
    square = pad_to_square(picture)
    assert square.size == (30, 30)
    assert square.getpixel((0, 0)) == (200, 210, 220)
    assert square.crop((10, 0, 20, 30)).tobytes() == picture.tobytes()


def test_the_record_names_model_and_weights_digest(clip_folder: Path):
    record = load_encoder(str(clip_folder)).record
    assert record.model == str(clip_folder)
    assert record.digest == hashlib.sha256((clip_folder / "model.safetensors").read_bytes()).hexdigest()
    assert record.reason is None


def test_a_cached_hub_snapshot_is_used_without_network_and_its_commit_recorded(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    commit, cache = "0123456789abcdef0123456789abcdef01234567", tmp_path / "models--owner--name"
    shutil.copytree(clip_folder, cache / "snapshots" / commit)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(files, "_download", lambda hub_id: pytest.fail("the network was asked"))
    assert load_encoder("owner/name").record.revision == commit


def test_an_encoder_is_at_hand_where_its_weights_are_in_the_cache_or_the_hub_answers(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert not files.is_at_hand("owner/name", ask_hub=True), "the network is switched off"
    commit, cache = "0123456789abcdef0123456789abcdef01234567", tmp_path / "models--owner--name"
    shutil.copytree(clip_folder, cache / "snapshots" / commit)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commit)
    assert files.is_at_hand("owner/name", ask_hub=False)


def test_a_hub_that_never_answers_is_given_up_in_bounded_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(files.HUB, "endpoint", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(files, "HUB_TIMEOUT_SECONDS", 0.05)
        with pytest.raises(ModelError, match="not in the cache, and the hub did not give it"):
            load_encoder("owner/name")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/no/such/folder", "is not a folder"),
        ("tests/no-such-folder", "is not a folder"),
        ("what is this?", "neither a folder nor a hub id"),
    ],
)
def test_a_source_that_is_nothing_is_said_to_be_nothing(source: str, message: str):
    with pytest.raises(ModelError, match=message):
        locate(source)


def test_missing_weights_are_an_error_and_never_random_numbers(clip_folder: Path, tmp_path: Path):
    folder = tmp_path / "clip"
    shutil.copytree(clip_folder, folder)
    weights = load_file(clip_folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights, such as visual_projection\.weight"):
        load_encoder(str(folder))


def test_a_cut_weights_file_is_an_error_with_its_reason(clip_folder: Path, tmp_path: Path):
    folder = tmp_path / "clip"
    shutil.copytree(clip_folder, folder)
    (folder / "model.safetensors").write_bytes((clip_folder / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_encoder(str(folder))


def test_pickled_weights_are_never_opened(clip_folder: Path, tmp_path: Path):
    folder = tmp_path / "clip"
    shutil.copytree(clip_folder, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no model\*\.safetensors"):
        load_encoder(str(folder))


def test_siglip_reads_its_padding_as_it_was_trained_to(siglip_folder: Path, garments: list[Image.Image]):
    encoder, model = load_encoder(str(siglip_folder)), SiglipModel.from_pretrained(siglip_folder)
    tokens = CLIPTokenizer.from_pretrained(siglip_folder)(
        "a red dress", padding="max_length", max_length=MAX_LENGTH, return_tensors="pt"
    )
    pixel_values = SiglipImageProcessorPil.from_pretrained(siglip_folder)(garments[0], return_tensors="pt")
    with torch.inference_mode():
        expected = model(input_ids=tokens["input_ids"], **pixel_values)
    np.testing.assert_allclose(encoder.embed_text("a red dress"), expected.text_embeds[0], atol=1e-5)
    np.testing.assert_allclose(encoder.embed_image(garments[0]), expected.image_embeds[0], atol=1e-5)


def test_a_tokenizer_that_cannot_be_had_leaves_the_pictures(
    clip_folder: Path, tmp_path: Path, garments: list[Image.Image]
):
    folder = tmp_path / "clip"
    shutil.copytree(clip_folder, folder)
    (folder / "tokenizer.json").write_text("{}")
    encoder = load_encoder(str(folder))
    assert np.isfinite(encoder.embed_image(garments[0])).all()
    with pytest.raises(ModelError, match="cannot be loaded"):
        encoder.embed_text("a red dress")


def test_a_clip_without_a_vocabulary_reads_nothing_rather_than_anything(clip_folder: Path, tmp_path: Path):
    folder = tmp_path / "clip"
    shutil.copytree(clip_folder, folder, ignore=shutil.ignore_patterns("tokenizer.json", "vocab.json"))
    with pytest.raises(ModelError, match="has no tokenizer"):
        load_encoder(str(folder)).embed_text("a red dress")


def test_a_network_that_hangs_is_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub's server takes the connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(files, "HUB", HfApi(endpoint=address))
        monkeypatch.setattr(files, "HUB_TIMEOUT_SECONDS", 0.5)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        began = time.monotonic()
        with pytest.raises(ModelError, match="the hub did not give it"):
            load_encoder("nobody/nothing")
        assert not files.is_at_hand("nobody/nothing", ask_hub=True)
        assert silent.accept(), "it was asked"
        assert time.monotonic() - began < 30, "a few timeouts at most"
