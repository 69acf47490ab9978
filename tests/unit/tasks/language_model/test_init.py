"""`run.py init` knows files of examples, and the config that it writes is one to train with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomlkit

import tasks
from shared.config.loading import load_config
from shared.errors import ConfigError
from tasks.language_model import init, task
from tests import tiny_language


@pytest.mark.parametrize(
    ("line", "is_ours"),
    [
        ({"prompt": "a", "completion": "b"}, True),
        ({"text": "a"}, True),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, True),
        ({"file_name": "a.png", "text": "a red dress"}, False),
        ({"path": "a", "label": "b"}, False),
    ],
)
def test_files_of_examples_are_known_and_those_of_pictures_are_not(
    tmp_path: Path, line: dict[str, object], *, is_ours: bool
) -> None:
    file = tmp_path / "data" / "train.jsonl"
    file.parent.mkdir()
    file.write_text(json.dumps(line) + "\n")
    for place in (file, file.parent):
        assert (tasks.suited(place)[0] == "language_model") is is_ours
    (file.parent / "a.png").touch()
    assert init.suits(file.parent) == ""


def test_the_config_is_one_to_train_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_language.write_model(tmp_path / "model")
    file = tiny_language.write_examples(tmp_path / "words.jsonl", tiny_language.examples(60))
    target = tmp_path / "words.toml"
    assert init.init(file, str(model), target, "", force=False) == 0
    said = capsys.readouterr().out
    assert "60 examples" in said
    assert "4-bit" in said
    config = load_config(target, [], tasks.settings)
    plan = task.plan(config, lambda text: None)
    assert (len(plan.dataset.held_out), plan.dataset.pass_length) == (6, 54)
    assert tomlkit.parse(target.read_text())["language_model"]["context_length"] == 64  # type: ignore[index]
    with pytest.raises(ConfigError, match="exists"):
        init.init(file, str(model), target, "", force=False)
    with pytest.raises(ConfigError, match="not said"):
        init.init(file, "", tmp_path / "other.toml", "", force=False)
    with pytest.raises(ConfigError, match="nothing for language models"):
        init.init(file, str(model), tmp_path / "other.toml", "word", force=False)
