"""Which of a model's weight files are read: plain ones, a variant's, shards; never pickles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from shared.errors import ModelError
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.models.memory import read_components
from tasks.text_to_image.models.weights_header import choose_variant

PLAIN, FP16 = "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"
BF16, NON_EMA = "diffusion_pytorch_model.bf16.safetensors", "diffusion_pytorch_model.non_ema.safetensors"
SHARDS = ["model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"]
OLD_SHARDS = ["model-00001-of-00002.fp16.safetensors", "model-00002-of-00002.fp16.safetensors"]


@pytest.mark.parametrize(
    ("unet", "text_encoder", "wanted", "chosen"),
    [
        ([PLAIN], ["model.safetensors"], None, None),
        ([PLAIN, FP16, NON_EMA], ["model.safetensors", "model.fp16.safetensors"], None, None),
        ([PLAIN], ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], None, None),
        ([FP16], ["model.fp16.safetensors"], None, "fp16"),
        ([FP16], ["model.safetensors"], None, "fp16"),
        ([FP16], SHARDS, None, "fp16"),
        ([FP16], OLD_SHARDS, None, "fp16"),
        ([BF16, FP16], ["model.fp16.safetensors", "model.bf16.safetensors"], None, "fp16"),
        ([BF16, FP16], ["model.bf16.safetensors"], None, "bf16"),
        ([NON_EMA], ["model.safetensors"], None, "non_ema"),
        ([PLAIN, NON_EMA], ["model.safetensors"], "non_ema", "non_ema"),
        ([PLAIN, FP16], ["model.safetensors"], "fp16", "fp16"),
        ([], [], None, None),
    ],
)
def test_plain_weights_come_first_then_a_variant_that_covers_what_lacks_them(
    unet: list[str], text_encoder: list[str], wanted: str | None, chosen: str | None
) -> None:
    names = {"unet": ["config.json", *unet], "text_encoder": ["config.json", *text_encoder]}
    assert choose_variant(names, wanted, "a model") == chosen


@pytest.mark.parametrize(
    ("unet", "text_encoder", "wanted", "problem"),
    [
        (
            [PLAIN],
            ["model.safetensors"],
            "fp16",
            "model.variant is 'fp16'; a model has unet: plain; text_encoder: plain",
        ),
        (
            [FP16],
            ["model.bf16.safetensors"],
            "fp16",
            "model.variant is 'fp16'; a model has unet: fp16; text_encoder: bf16",
        ),
        ([FP16], ["model.bf16.safetensors"], None, "no variant of weights suits every part"),
        (["diffusion_pytorch_model.bin"], ["pytorch_model.bin"], None, "only pickled weights in unet and text_encoder"),
        ([PLAIN], ["pytorch_model.fp16.bin"], None, "only pickled weights in text_encoder"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_what_is_there(
    unet: list[str], text_encoder: list[str], wanted: str | None, problem: str
) -> None:
    with pytest.raises(ModelError, match=problem) as refused:
        choose_variant({"unet": unet, "text_encoder": text_encoder}, wanted, "a model")
    assert refused.value.hint


@pytest.mark.parametrize(
    ("text_encoder", "wanted", "cure"),
    [
        (["model.bf16.safetensors"], None, "download the missing files again"),
        (["model.bf16.safetensors"], "fp16", "download the missing files again"),
        (["model.fp16.safetensors"], "ema", "set model.variant = 'fp16'"),
        (["model.safetensors"], "ema", "set model.variant = 'fp16'"),
    ],
)
def test_the_hint_names_a_variant_that_suits_or_says_that_files_are_missing(
    text_encoder: list[str], wanted: str | None, cure: str
) -> None:
    with pytest.raises(ModelError) as refused:
        choose_variant({"unet": [FP16], "text_encoder": text_encoder}, wanted, "a model")
    assert cure in refused.value.hint
    with pytest.raises(ModelError) as refused:
        choose_variant({"unet": [PLAIN]}, "fp16", "a model")
    assert "leave model.variant out" in refused.value.hint


def test_the_tensors_counted_are_those_that_are_loaded(tmp_path: Path) -> None:
    def write(part: str, name: str, *sizes: int) -> None:
        (tmp_path / part).mkdir(exist_ok=True)
        save_file({f"{name}{size}": np.zeros(size, np.float16) for size in sizes}, tmp_path / part / name)

    write("unet", PLAIN, 5)
    write("unet", NON_EMA, 7)
    write("text_encoder", SHARDS[0], 2)
    write("text_encoder", SHARDS[1], 3)
    counts = {
        part: sum(tensor.count for tensor in found.values())
        for part, found in read_components(tmp_path, FAMILIES["sd1"]).items()
    }
    assert counts == {"unet": 5, "text_encoder": 5}
    with pytest.raises(ModelError, match=r"model\.variant is 'non_ema'"):
        read_components(tmp_path, FAMILIES["sd1"], "non_ema")
    write("text_encoder", "model.safetensors", 5)
    found = read_components(tmp_path, FAMILIES["sd1"], "non_ema")
    assert sum(tensor.count for tensor in found["unet"].values()) == 7
