"""The encoder that comes with Darkroom: its weights, its padding, how a checkpoint becomes its file."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from skimage import data
from torch import Tensor, nn

from shared.errors import ModelError
from tasks.text_to_image.encoders.efficientnet_lite0 import network
from tasks.text_to_image.encoders.efficientnet_lite0.convert import EPSILON, folded
from tasks.text_to_image.encoders.encoder import Encoder
from tasks.text_to_image.encoders.loading import load_encoder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("efficientnet-lite0")


def checkpoint() -> dict[str, Tensor]:
    """One as TensorFlow's port names it, with random numbers."""
    names = {"stem": ("_conv_stem", "_bn0")}
    for number in range(16):
        for part, norm in (("expand", "_bn0"), ("depthwise", "_bn1"), ("project", "_bn2")):
            names[f"blocks.{number}.{part}"] = (f"_blocks.{number}._{part}_conv", f"_blocks.{number}.{norm}")
    found: dict[str, Tensor] = {"_fc.weight": torch.zeros(1)}
    for name, tensor in network.EfficientNetLite0().state_dict().items():
        layer, _, kind = name.rpartition(".")
        convolution, norm = names[layer]
        if kind == "weight":
            found[f"{convolution}.weight"] = torch.randn(tensor.shape)
        else:
            parts = ("weight", "bias", "running_mean", "running_var")
            found |= {f"{norm}.{part}": torch.rand(tensor.shape) + 0.5 for part in parts}
            found[f"{norm}.num_batches_tracked"] = torch.zeros(())
    return found


def test_the_weights_are_those_that_the_page_beside_them_names(encoder: Encoder):
    digest = hashlib.sha256(network.WEIGHTS.read_bytes()).hexdigest()
    assert encoder.record.digest == digest
    assert digest in network.WEIGHTS.with_name("README.md").read_text(encoding="utf-8")


def test_a_cat_is_like_its_mirror_image_and_unlike_a_cup(encoder: Encoder):
    cat, cup = (Image.fromarray(load()) for load in (data.chelsea, data.coffee))
    own, mirrored, other = (encoder.embed_image(picture) for picture in (cat, ImageOps.mirror(cat), cup))
    assert own.shape == (632,)
    assert 1 - own @ mirrored < 0.1
    assert 1 - own @ other > 0.4


def test_each_depth_counts_the_same(encoder: Encoder, garments: list[Image.Image]):
    vector = encoder.embed_image(garments[0])
    for part in np.split(vector, np.cumsum([40, 80, 192])):
        assert np.linalg.norm(part) == pytest.approx(0.5, abs=1e-5)


def test_it_reads_no_text(encoder: Encoder):
    with pytest.raises(ModelError, match="reads no text"):
        encoder.embed_text("a red dress")


@pytest.mark.parametrize(
    ("edge", "kernel", "stride", "sides"),
    [(224, 3, 2, (0, 1)), (14, 5, 2, (1, 2)), (7, 3, 1, (1, 1)), (7, 1, 1, (0, 0)), (15, 3, 2, (1, 1))],
)
def test_padding_is_that_of_tensorflow(edge: int, kernel: int, stride: int, sides: tuple[int, int]):
    assert network._padding(edge, kernel, stride) == sides


def test_a_folded_batch_norm_gives_what_the_norm_gave():
    torch.manual_seed(0)
    loaded = checkpoint()
    norm = nn.BatchNorm2d(32, eps=EPSILON).eval()
    parts = ("weight", "bias", "running_mean", "running_var")
    norm.load_state_dict({part: loaded[f"_bn0.{part}"] for part in parts}, strict=False)
    plain, both = network.Convolution(3, 32, 3, 2), folded(dict(loaded))
    picture = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        plain.load_state_dict({"weight": loaded["_conv_stem.weight"], "bias": torch.zeros(32)})
        expected = norm(plain(picture))
        plain.load_state_dict({part: both[f"stem.{part}"].float() for part in ("weight", "bias")})
        torch.testing.assert_close(plain(picture), expected, rtol=1e-2, atol=1e-2)


def test_a_checkpoint_with_a_tensor_too_many_is_refused():
    with pytest.raises(ValueError, match=r"unknown tensors: _blocks\.16\._se\.weight"):
        folded({**checkpoint(), "_blocks.16._se.weight": torch.zeros(1)})


def test_weights_that_are_cut_off_are_an_error_with_a_cure(tmp_path, monkeypatch: pytest.MonkeyPatch):
    cut = tmp_path / "model.safetensors"
    cut.write_bytes(network.WEIGHTS.read_bytes()[:9000])
    monkeypatch.setattr(network, "WEIGHTS", cut)
    with pytest.raises(ModelError, match="cannot be read"):
        load_encoder("efficientnet-lite0")
