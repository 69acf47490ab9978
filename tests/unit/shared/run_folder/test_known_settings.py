"""The settings of a run that are shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from shared.config.loading import parse_config
from shared.run_folder.known_settings import OF_A_LORA, known_settings, known_toml


@pytest.mark.parametrize(("what", "has_lora"), [("lora", True), ("full", False), ("scratch", False)])
def test_settings_of_a_lora_are_shown_where_there_is_one(what: str, has_lora: bool) -> None:
    run: Any = SimpleNamespace(read_record=lambda: SimpleNamespace(imported=None))
    shown = known_settings(run, parse_config({"data": {"path": "p"}, "train": {"what": what}}))
    assert ("lora" in shown) is has_lora
    assert shown["train"]["what"] == what
    for key in OF_A_LORA:
        table, _, name = key.partition(".")
        assert (name in shown[table]) is has_lora, key


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_a_task_that_says_by_itself_what_is_trained_is_heard(tuning: str) -> None:
    run: Any = SimpleNamespace(read_record=lambda: SimpleNamespace(imported=None))
    tree = {"run": {"task": "image_classification"}, "data": {"path": "p"}, "image_classification": {"tuning": tuning}}
    config = parse_config(tree)
    shown = known_settings(run, config)
    assert ("lora" in shown) is ("[lora]" in known_toml(run, config)) is (tuning == "lora")
    assert "what" not in shown["train"]
    assert shown["image_classification"]["tuning"] == tuning
