"""What is refused before anything is written, each with a cure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from shared.errors import ConfigError, DataError, ModelError
from tasks.language_model import network, task
from tests import tiny_language
from tests.conftest import create_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("language")
    tiny_language.write_model(made / "model")
    tiny_language.write_examples(made / "words.jsonl", tiny_language.examples())
    return made


def test_settings_that_do_not_suit_are_told_together(folder: Path, tmp_path: Path) -> None:
    config = tiny_language.config(
        tmp_path,
        folder / "words.jsonl",
        folder / "model",
        model={"quantization": "fp8"},
        language_model={"context_length": 4096},
        train={"gradient_checkpointing": "offload", "what": "full"},
        evaluation={"confirm_prompts": 16, "num_prompts": 7},
        lora={"init_from": "there"},
    )
    with pytest.raises(ConfigError) as told:
        task.require_suitable(config)
    text = f"{told.value}; {told.value.hint}"
    for part in ("are not trained in", "256 positions", "offload", "leaves 0", "init_from", "train.what is full"):
        assert part in text


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"architectures": ["ViTForImageClassification"]}, "no causal language model"),
        ({"auto_map": {"AutoModelForCausalLM": "theirs.Model"}}, "needs code of its own"),
        ({"model_type": None}, ""),
    ],
)
def test_what_is_no_language_model_is_refused(
    folder: Path, tmp_path: Path, damage: dict[str, object], told: str
) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / "model" / name).read_bytes())
    tree = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(tree | damage))
    config = tiny_language.config(tmp_path, folder / "words.jsonl", tmp_path)
    if not told:
        task.require_suitable(config)
        return
    with pytest.raises(ModelError, match=told):
        task.require_suitable(config)


@pytest.mark.parametrize("place", ["nowhere", "pocket", "nobody/nothing"])
def test_a_model_that_is_not_there_is_refused(folder: Path, tmp_path: Path, place: str) -> None:
    model = tmp_path / place if place == "nowhere" else Path(place)
    with pytest.raises(ModelError, match=r"model\.path is|out of reach"):
        task.require_suitable(tiny_language.config(tmp_path, folder / "words.jsonl", model))


def test_examples_that_changed_are_refused_and_named_and_moved_ones_are_known(folder: Path, tmp_path: Path) -> None:
    run = create_run(tiny_language.config(tmp_path, folder / "words.jsonl", folder / "model"))
    lines = tiny_language.examples()
    moved = tiny_language.write_examples(tmp_path / "words.jsonl", lines)
    config = run.read_config()
    there = config.model_copy(update={"data": config.data.model_copy(update={"path": str(moved)})})
    assert task.moved_settings(run, there, {"data.path"}) == {"data.path"}
    lines[3] = {"text": "something else"}
    tiny_language.write_examples(moved, [*lines, {"text": "one more"}])
    with pytest.raises(DataError, match=r"changed: words/4(?s:.*)added: words/25"):
        task.require_same_data(run, there)
    assert list(task.changed_content(run, config, lambda file: "another")) != []


def test_weights_that_are_cut_off_are_refused_with_a_cure(tmp_path: Path) -> None:
    config = tiny_language.config(tmp_path, tmp_path / "words.jsonl", tiny_language.write_model(tmp_path / "model"))
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="cannot be loaded") as told:
        network.load(config.model, {}, torch.float32, torch.device("cpu"))
    assert "hf download" in told.value.hint
