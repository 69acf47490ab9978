"""Prompts of a person's own are read as kohya's are, and every line that is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.data import prompt_file
from shared.data.prompt_file import OwnPrompt
from shared.errors import ConfigError


def test_each_line_is_a_prompt_with_kohyas_options() -> None:
    text = "# portraits\n\na red dress, studio\na dress --n blurry, bad hands --w 512 --h 768 --s 30 --l 5.5 --d 7\n"
    assert prompt_file.parse(text, "p") == (
        OwnPrompt(3, "a red dress, studio"),
        OwnPrompt(4, "a dress", "blurry, bad hands", 512, 768, 30, 5.5, 7),
    )


def test_a_hyphen_inside_a_word_is_no_option() -> None:
    assert prompt_file.parse("a T--shirt, off-white", "p")[0].prompt == "a T--shirt, off-white"


def test_the_trigger_word_is_filled_in_once() -> None:
    text = "a drawing of [trigger]\nin a forest\nsks hat on a table --d 1"
    prompts = [one.prompt for one in prompt_file.parse(text, "p", "sks hat")]
    assert prompts == ["a drawing of sks hat", "sks hat, in a forest", "sks hat on a table"]


def test_every_line_that_is_wrong_is_named_in_one_error_with_its_cure() -> None:
    text = "\n".join(
        ["a hat --q 3 --w 500", "a hat --s none --d 1 --d 2", "--n dark", "a cap", "a cap", "[trigger] --l 0.5 --n"]
    )
    with pytest.raises(ConfigError) as found:
        prompt_file.parse(text, "mine.txt")
    assert str(found.value).splitlines() == [
        "evaluation.prompts: mine.txt has lines that are wrong",
        "       line 1: there is no option --q",
        "       line 1: --w is 500, must be a multiple of 8, such as 496",
        "       line 2: --s (steps) is 'none', must be a whole number from 1 to 1000",
        "       line 2: --d is given twice",
        "       line 3: the prompt is empty",
        "       line 5: it repeats line 4: give it another seed by --d, or more seeds to all prompts by "
        "evaluation.num_seeds",
        "       line 6: --l (guidance) is '0.5', must be a number from 1 to 100",
        "       line 6: --n (negative prompt) is '', must be a text",
        "       line 6: [trigger] stands for data.trigger_word, which is not set",
    ]
    assert found.value.hint.startswith("correct these lines; the options are --n negative prompt, --w width")


def test_a_file_that_is_missing_or_empty_or_not_utf_8_is_an_error_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        prompt_file.read(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("# nothing yet\n")
    with pytest.raises(ConfigError, match="has no prompt"):
        prompt_file.read(tmp_path / "empty.txt")
    (tmp_path / "latin.txt").write_bytes("ein Hut für Jörg".encode("latin-1"))
    with pytest.raises(ConfigError, match="is not UTF-8"):
        prompt_file.read(tmp_path / "latin.txt")
