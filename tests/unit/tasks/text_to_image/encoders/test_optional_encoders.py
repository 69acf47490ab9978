"""open_clip and DreamSim need not be installed: packages that only pretend stand in, with the real ones' interfaces."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from shared.errors import ModelError
from tasks.text_to_image.encoders import optional
from tasks.text_to_image.encoders.files import HUB_TIMEOUT_SECONDS
from tasks.text_to_image.encoders.loading import load_encoder


class PretendClip(torch.nn.Module):
    """The parts of an open_clip model that are used."""

    def __init__(self) -> None:
        super().__init__()
        cfg = {"size": (16, 16), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
        self.visual = SimpleNamespace(preprocess_cfg=cfg)
        self.seen: list[torch.Tensor] = []

    def encode_image(self, pixel_values: torch.Tensor) -> torch.Tensor:
        self.seen.append(pixel_values)
        return pixel_values.mean(dim=(2, 3))

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, :3].float()


@pytest.fixture
def open_clip(monkeypatch: pytest.MonkeyPatch) -> PretendClip:
    model = PretendClip()

    def create_model(name: str, device: str, precision: str) -> PretendClip:
        assert name.startswith("local-dir:/")
        assert precision == "fp32"
        return model

    def get_tokenizer(name: str) -> Any:
        return lambda texts: torch.tensor([[len(text), 1, 0, 0] for text in texts])

    package = SimpleNamespace(create_model=create_model, get_tokenizer=get_tokenizer)
    monkeypatch.setitem(sys.modules, "open_clip", package)
    return model


@pytest.fixture
def marqo(tmp_path: Path) -> Path:
    """The files of Marqo-FashionSigLIP: open_clip's, and a configuration that wants its own code to be run."""
    (tmp_path / "open_clip_config.json").write_text("{}")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "siglip", "auto_map": {"AutoModel": "x.Y"}}))
    save_file({"weight": torch.ones(2)}, tmp_path / "open_clip_model.safetensors")
    return tmp_path


def test_a_folder_of_open_clips_is_read_by_it(open_clip: PretendClip, marqo: Path) -> None:
    encoder = load_encoder(str(marqo))
    vector = encoder.embed_image(Image.new("RGB", (30, 60), (255, 128, 0)))
    assert open_clip.seen[0].shape == (1, 3, 16, 16)
    np.testing.assert_allclose(open_clip.seen[0][0, :, 0, 0], [2, 0.0078, -2], atol=0.001)
    assert np.linalg.norm(vector) == pytest.approx(1)
    np.testing.assert_allclose(encoder.embed_text("abc"), np.array([3, 1, 0]) / 10**0.5, rtol=1e-6)
    assert encoder.record.model == str(marqo)
    assert len(encoder.record.digest or "") == 64


def test_a_folder_that_transformers_reads_is_left_to_it(open_clip: PretendClip, clip_folder: Path) -> None:
    config = clip_folder / "open_clip_config.json"
    config.write_text("{}")
    try:
        load_encoder(str(clip_folder)).embed_image(Image.new("RGB", (8, 8), "red"))
    finally:
        config.unlink()
    assert open_clip.seen == []


def test_a_model_open_clip_cannot_read_is_an_error_with_its_reason(
    open_clip: PretendClip, marqo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Model config not found\nand a page more")

    monkeypatch.setattr(sys.modules["open_clip"], "create_model", fail)
    with pytest.raises(ModelError, match=r"cannot be loaded: Model config not found$"):
        load_encoder(str(marqo))


def test_packages_that_are_not_installed_are_named_with_the_cure(marqo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("open_clip", "dreamsim"):
        monkeypatch.setitem(sys.modules, name, None)
    for source, cure in ((str(marqo), "open_clip_torch"), ("dreamsim", "dreamsim>=")):
        with pytest.raises(ModelError, match="cannot be imported") as caught:
            load_encoder(source)
        assert f"pip install '{cure}" in caught.value.hint


@pytest.fixture
def dreamsim_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "dreamsim"
    monkeypatch.setattr(optional, "dreamsim_folder", lambda: folder)
    monkeypatch.setattr(optional.importlib.metadata, "version", lambda name: "0.2.1")
    return folder


def test_dreamsim_sees_the_whole_picture_and_prints_nothing_among_the_numbers(
    dreamsim_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timeouts: list[float | None] = []

    def embed(pixels: torch.Tensor) -> torch.Tensor:
        assert pixels.shape == (1, 3, 224, 224)
        assert 0 <= float(pixels.min()) <= float(pixels.max()) <= 1
        return pixels.mean(dim=(0, 2, 3))

    def dreamsim(*, pretrained: bool, device: str, cache_dir: str, normalize_embeds: bool) -> tuple[Any, Any]:
        timeouts.append(socket.getdefaulttimeout())
        Path(cache_dir).mkdir()
        (Path(cache_dir) / "ensemble_lora").write_bytes(b"weights")
        print("Using cached")  # noqa: T201
        return SimpleNamespace(embed=embed), None

    monkeypatch.setattr(optional.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setitem(sys.modules, "dreamsim", SimpleNamespace(dreamsim=dreamsim))
    encoder = load_encoder("dreamsim")
    assert encoder.embed_image(Image.new("RGB", (30, 60), (255, 0, 0))) == pytest.approx([1, 0, 0])
    assert (encoder.record.model, encoder.record.revision) == ("dreamsim", "0.2.1")
    assert encoder.record.digest
    assert capsys.readouterr().out == ""
    assert timeouts == [HUB_TIMEOUT_SECONDS]
    assert socket.getdefaulttimeout() is None
    with pytest.raises(ModelError, match="reads no text"):
        encoder.embed_text("a dress")


def test_dreamsim_without_its_weights_and_without_network_says_where_they_belong(
    dreamsim_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optional.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setitem(sys.modules, "dreamsim", SimpleNamespace(dreamsim=lambda **_: pytest.fail("asked the network")))
    with pytest.raises(ModelError, match=f"are not in {dreamsim_folder}, and the network is switched off"):
        load_encoder("dreamsim")
