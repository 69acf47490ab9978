"""Prompts of a person's own are read as kohya's are, and every line that is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

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
    text = "a drawing of [Trigger] --n two [trigger]s\nin a forest\nsks hat on a table --d 1"
    prompts = prompt_file.parse(text, "p", "sks hat")
    assert [one.prompt for one in prompts] == ["a drawing of sks hat", "sks hat, in a forest", "sks hat on a table"]
    assert prompts[0].negative_prompt == "two sks hats"


def test_every_line_that_is_wrong_is_named_in_one_error_with_its_cure() -> None:
    text = "\n".join(
        ["a hat --q 3 --w 500", "a hat --s none --d 1 --d 2", "--n dark", "a cap", "a cap", "[trigger] --l 0.5 --n"]
    )
    with pytest.raises(ConfigError) as found:
        prompt_file.parse(text, "mine.txt")
    assert str(found.value).splitlines() == [
        "evaluation.prompts: mine.txt has lines that are wrong",
        "       line 1: there is no option --q",
        "       line 1: --w is 500, but must be a multiple of 8, such as 496",
        "       line 2: --s (steps) is 'none', must be a whole number from 1 to 1000",
        "       line 2: --d is given twice",
        "       line 3: the prompt is empty",
        "       line 5: it repeats line 4: give it another seed by --d, or more seeds to all prompts by "
        "evaluation.num_seeds",
        "       line 6: --l (guidance) is '0.5', must be a number from 1 to 100",
        "       line 6: --n (negative prompt) is empty, must be a text",
        "       line 6: [trigger] stands for the trigger word, which is not set: give it (data.trigger_word; of init "
        "and evaluate: --trigger-word WORD), or write the word itself",
    ]
    assert found.value.hint.startswith("correct these lines; the options are --n negative prompt, --w width")


def test_one_fault_of_many_lines_is_told_once_and_of_many_faults_the_first() -> None:
    with pytest.raises(ConfigError) as found:
        prompt_file.parse("a hat --s " + "9" * 5000 + "\n" + "a hat --q\n" * 5000, "p")
    assert str(found.value).splitlines()[1:] == [
        f"       line 1: --s (steps) is '{'9' * 40}…', must be a whole number from 1 to 1000",
        "       lines 2, 3, 4, 5, 6, 7, 8, 9 and 4,992 more: there is no option --q",
    ]
    with pytest.raises(ConfigError) as found:
        prompt_file.parse("".join(f"a hat --q{number}\n" for number in range(1000)), "p")
    assert len(str(found.value).splitlines()) == 1 + 40 + 1
    assert str(found.value).endswith("       and 960 more")


def test_prompts_are_the_same_whatever_the_order_of_their_options_and_the_place_of_the_word() -> None:
    with pytest.raises(ConfigError) as found:
        prompt_file.parse("a cap\na hat --w 64 --s 3\n[trigger], a hat --s 3 --w 64\na cap --d 1", "p", "sks")
    assert [line.partition(":")[0].strip() for line in str(found.value).splitlines()[1:]] == ["line 3"]


def test_lines_are_counted_as_editors_count_them() -> None:
    text = "\ufeff# a\r\na hat\x0con two lines\r\n\r\na cap\r\n".encode().decode("utf-8-sig")
    assert [one.line for one in prompt_file.parse(text, "p")] == [2, 4]


def test_a_file_that_is_missing_or_empty_or_not_utf_8_is_an_error_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        prompt_file.read(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("# nothing yet\n")
    with pytest.raises(ConfigError, match="has no prompt"):
        prompt_file.read(tmp_path / "empty.txt")
    (tmp_path / "latin.txt").write_bytes("ein Hut für Jörg".encode("latin-1"))
    with pytest.raises(ConfigError, match="is not UTF-8"):
        prompt_file.read(tmp_path / "latin.txt")


TOML = """
[prompt]
width = 256
scale = 7.0
[[prompt.subset]]
prompt = "[trigger] in a forest"
negative_prompt = "blurry"
seed = 7
[[prompt.subset]]
prompt = "a pencil drawing"
width = 512
sample_steps = 30
"""
JSON = """[
  {"prompt": "[trigger] in a forest", "negative_prompt": "blurry", "seed": 7, "width": 256, "scale": 7, "height": null},
  "a pencil drawing --w 512 --s 30 --l 7"
]"""


@pytest.mark.parametrize(
    ("name", "text"), [("x.toml", TOML), ("x.json", JSON), ("prompts.txt", TOML), ("prompts.txt", JSON)]
)
def test_the_structured_forms_say_the_same_as_lines(name: str, text: str) -> None:
    name = name.format(".toml" if text == TOML else ".json")
    lines = "[trigger] in a forest --n blurry --d 7 --w 256 --l 7\na pencil drawing --w 512 --s 30 --l 7"
    assert prompt_file.parse(text, name, "sks") == prompt_file.parse(lines, "x.txt", "sks")


def test_a_prompt_names_its_sources_beside_the_file_in_every_form(tmp_path: Path) -> None:
    (tmp_path / "my photos").mkdir()
    for name in ("my photos/shirt.png", "hat.jpg"):
        Image.new("RGB", (16, 24)).save(tmp_path / name)
    texts = {
        "x.txt": "make it red --ci my photos/shirt.png --s 3 --ci hat.jpg",
        "x.json": '[{"prompt": "make it red", "control_image_path": ["my photos/shirt.png", "hat.jpg"], '
        '"sample_steps": 3}]',
        "x.toml": '[[prompt.subset]]\nprompt = "make it red"\nsample_steps = 3\n'
        'control_image_path = ["my photos/shirt.png", "hat.jpg"]',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        (one,) = prompt_file.read(tmp_path / name)
        assert (one.sources, one.num_inference_steps) == (("my photos/shirt.png", "hat.jpg"), 3)
        assert [prompt_file.source_path(tmp_path / name, source).is_file() for source in one.sources] == [True, True]


def test_sources_that_cannot_be_opened_are_told_with_all_other_faults(tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"no picture")
    (tmp_path / "mine.txt").write_text("make it red --ci gone.png\nmake it blue --ci torn.png --w 3\nturn it --ci")
    with pytest.raises(ConfigError) as error:
        prompt_file.read(tmp_path / "mine.txt")
    for told in (
        f"line 1: there is no source {tmp_path / 'gone.png'}",
        f"line 2: the source {tmp_path / 'torn.png'}: not a PNG",
        "line 2: --w (width) is '3'",
        "line 3: --ci (source) is empty, must be a text",
    ):
        assert told in str(error.value)
    assert "--ci source" in error.value.hint


def test_a_text_that_begins_with_a_bracket_stays_a_text() -> None:
    assert prompt_file.parse("[trigger]", "prompts.txt", "sks")[0].prompt == "sks"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        (
            "x.json",
            '[{"prompt": "a"}, {"prompt": "b", "sample_sampler": "ddim", "width": 100}]',
            ["prompt 2: there is no key sample_sampler", "prompt 2: width is 100, but must be a multiple of 8"],
        ),
        ("x.json", '[{"prompt": "a", "seed": true}]', ["prompt 1: seed is 'True', must be a whole number"]),
        (
            "x.json",
            '[{"prompt": "a"}, {"prompt": "a"}]',
            ["prompt 2: it repeats prompt 1: give it another seed"],
        ),
        ("x.json", '{"prompt": "a"}', ["is no list of prompts"]),
        ("x.json", "a dress", ["is no JSON"]),
        ("x.toml", "a dress", ["is no TOML"]),
        ("x.toml", '[prompt]\nprompt = "a"', ["has no [[prompt.subset]]"]),
        ("x.json", "[]", ["has no prompt"]),
    ],
)
def test_what_is_wrong_in_a_structured_form_is_told(name: str, text: str, told: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        prompt_file.parse(text, name)
    assert all(one in str(error.value) for one in told)
    assert error.value.hint
