"""Captions counted in tokens: by the model's own tokenizer, in every form it lies on a disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from shared.config.schema import ModelConfig
from shared.errors import ModelError
from tasks.text_to_image.models import tokens
from tasks.text_to_image.models.base_model import POCKET_STABLE_DIFFUSION
from tasks.text_to_image.models.tokens import Lengths
from tests.conftest import paper_model

POCKET_TOKENIZER = POCKET_STABLE_DIFFUSION / "tokenizer"
CAPTIONS = ["a red dress", "", "Ein grünes Kleid, it's 100 % Seide!", "a red dress with buttons, " * 20]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with the pocket tokenizer in the two files that older models have."""
    model = paper_model(tmp_path / "model")
    whole = json.loads((POCKET_TOKENIZER / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (model / "tokenizer" / "vocab.json").write_text(json.dumps(whole["vocab"]), encoding="utf-8")
    merges = "\n".join(" ".join(pair) for pair in whole["merges"])
    (model / "tokenizer" / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    shutil.copy(POCKET_TOKENIZER / "tokenizer_config.json", model / "tokenizer")
    return model


def count(model: ModelConfig) -> Lengths:
    found = tokens.measure(CAPTIONS, model)
    assert found
    return found


def test_captions_are_counted_as_the_models_tokenizer_counts_them(folder: Path) -> None:
    from transformers import CLIPTokenizer  # noqa: PLC0415

    tokenizer = CLIPTokenizer.from_pretrained(POCKET_TOKENIZER)
    expected = tuple(len(tokenizer(caption, add_special_tokens=False).input_ids) for caption in CAPTIONS)
    assert expected[1] == 0 < expected[0] < 30 < expected[3]
    assert count(ModelConfig()) == Lengths(expected, window=30)
    assert count(ModelConfig(path=str(folder))) == Lengths(expected, window=30)


def test_a_single_file_is_counted_by_the_folder_that_describes_it(tiny_single_files: Path) -> None:
    path = str(tiny_single_files / "sdxl.safetensors")
    described = ModelConfig(path=path, single_file_config=str(POCKET_STABLE_DIFFUSION))
    assert count(described) == count(ModelConfig())


def test_a_model_that_is_not_here_is_counted_by_a_tokenizer_with_its_vocabulary(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    def cached(repository: str, name: str) -> str | None:
        here = repository == "stabilityai/stable-diffusion-xl-base-1.0" and (folder / name).is_file()
        return str(folder / name) if here else None

    monkeypatch.setattr(tokens, "try_to_load_from_cache", cached)
    assert count(ModelConfig(path="somebody/dresses-xl")).counts == count(ModelConfig()).counts


def test_where_no_tokenizer_is_nothing_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "try_to_load_from_cache", lambda repository, name: None)
    model = ModelConfig(path="somebody/dresses")
    assert tokens.measure(CAPTIONS, model) is None
    said = tokens.sentence(CAPTIONS, model, 75)
    assert said == "captions are not counted in tokens yet: the tokenizer of somebody/dresses is not on this machine"


def test_a_damaged_tokenizer_is_named(tmp_path: Path) -> None:
    model = paper_model(tmp_path / "model")
    (model / "tokenizer" / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="tokenizer holds no readable tokenizer"):
        tokens.measure(CAPTIONS, ModelConfig(path=str(model)))


@pytest.mark.parametrize(
    ("counts", "setting", "said"),
    [
        ((10, 75), 75, None),
        (
            (10, 76, 100),
            75,
            "2 of 3 captions are longer than the 75 tokens that are encoded: 26 tokens are cut off, 25 "
            "of the longest caption; data.max_token_length = 150 encodes all of them whole",
        ),
        (
            (151,),
            75,
            "1 of 1 captions are longer than the 75 tokens that are encoded: 76 tokens are cut off, 76 of the "
            "longest caption; data.max_token_length = 225 encodes all of them whole",
        ),
        ((151,), 225, None),
        (
            (300,),
            150,
            "1 of 1 captions are longer than the 150 tokens that are encoded: 150 tokens are cut off, 150 of "
            "the longest caption; shorten the captions, the most important words first, or set "
            "data.max_token_length = 225",
        ),
        (
            (300,),
            225,
            "1 of 1 captions are longer than the 225 tokens that are encoded: 75 tokens are cut off, 75 of "
            "the longest caption; shorten the captions, the most important words first",
        ),
    ],
)
def test_what_is_cut_off_is_counted_and_the_setting_named(
    counts: tuple[int, ...], setting: int, said: str | None
) -> None:
    assert Lengths(counts).cut(setting) == said


def test_captions_that_fit_are_said_to_fit() -> None:
    assert (
        tokens.sentence(["a red dress"], ModelConfig(), 75) == "captions have up to 3 tokens, and up to 30 are encoded"
    )
