"""Captions by models of transformers' own classes, with random weights."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from PIL import Image
from safetensors.torch import load_file, save_file

from shared.errors import ConfigError, DeviceError, ModelError
from tasks.captioning import __main__ as program
from tasks.captioning import captioner, found
from tasks.captioning.captioner import load
from tests.tiny_captioners import WORDS, write_blip, write_florence, write_tagger


@pytest.mark.parametrize("write", [write_blip, write_florence])
def test_a_captioner_writes_words_that_it_knows_the_same_each_time(
    write: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captioner, "MAX_NEW_TOKENS", 8)
    caption, picture = load(str(write(tmp_path / "model")), "cpu"), Image.new("RGB", (80, 48), "red")
    text = caption(picture)
    words = set(text.replace("<unk>", "").split())
    assert words
    assert words <= {word for known in WORDS for word in (known, known.lower())}
    assert caption(picture) == text


def test_a_tagger_writes_the_tags_that_it_is_sure_of(tmp_path: Path) -> None:
    folder, picture = write_tagger(tmp_path / "model"), Image.new("RGB", (80, 48), "red")
    assert load(str(folder), "cpu")(picture) == "red dress, studio, ^_^"
    assert load(str(folder), "cpu", 0.9)(picture) == "red dress"


def test_what_is_no_captioner_is_refused_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(str(tmp_path / "absent"), "cpu")
    with pytest.raises(ModelError, match="the model's name is empty"):
        load("", "cpu")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelError, match="is a gpt2, which writes no captions"):
        load(str(tmp_path), "cpu")


def test_a_broken_model_is_refused_with_a_cure(tmp_path: Path) -> None:
    folder = write_tagger(tmp_path / "model")
    weights = folder / "model.safetensors"
    whole = load_file(weights)
    save_file({name: tensor for name, tensor in whole.items() if name != "classifier.bias"}, weights)
    with pytest.raises(ModelError, match=r"lacks 1 weights, such as classifier\.bias"):
        load(str(folder), "cpu")
    save_file({**whole, "classifier.bias": whole["classifier.bias"][:2].clone()}, weights)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(str(folder), "cpu")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="cannot be loaded") as told:
        load(str(folder), "cpu")
    assert told.value.hint.startswith("give a complete folder")


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        (["--threshold", "35"], ConfigError, "--threshold is 35"),
        (["--threshold", "nan"], ConfigError, "--threshold is nan"),
        (["--device", "cuda:99"], DeviceError, "device cuda:99 is not available"),
        (["--model", "nope"], ConfigError, "--model 'nope' is not there, and is no hub id"),
        (["--model", "./no/folder"], ConfigError, "is not there"),
        (["--model", "nobody/at-all"], ModelError, "nobody/at-all is not on this machine, and the hub is out of reach"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], kind: type[Exception], text: str
) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    monkeypatch.setattr(sys, "argv", ["caption", str(tmp_path), "--model", "owner/tagger", *options])
    with pytest.raises(kind, match=text):
        program.main()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_program_writes_what_is_missing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, model = tmp_path / "data", write_tagger(tmp_path / "tagger")
    folder.mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (64, 64)).save(folder / f"{name}.png")
    (folder / "a.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    given = ["caption", "data", "--model", "tagger", "--runs", ".", "--device", "cpu"]
    assert model.is_dir()
    monkeypatch.setattr(sys, "argv", given)
    assert program.main() == 0
    assert [(folder / f"{name}.txt").read_text() for name in ("a", "b")] == ["mine", "red dress, studio, ^_^"]
    assert "1 of 1 captions written" in capsys.readouterr().out
    assert program.main() == 0
    assert "every picture has a caption" in capsys.readouterr().out


def test_a_model_in_the_hubs_cache_is_taken_from_there_and_the_hubs_answers_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_tagger(tmp_path / "tagger")

    def cached(hub_id: str, **_: object) -> str:
        if hub_id == "owner/tagger":
            return str(whole)
        raise LocalEntryNotFoundError("not here")

    monkeypatch.setattr(found, "snapshot_download", cached)
    assert found.find("owner/tagger") == str(whole)
    answer = httpx.Response(404, request=httpx.Request("GET", "https://hub"))
    for error, text in ((RepositoryNotFoundError, "has no model"), (GatedRepoError, "agreed to its terms")):

        def refuse(*_: object, error: type[HfHubHTTPError] = error, **__: object) -> None:
            raise error("no", response=answer)

        monkeypatch.setattr(HfApi, "model_info", refuse)
        with pytest.raises(ModelError, match=text):
            found.find("owner/other")
