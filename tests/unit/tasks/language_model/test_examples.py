"""Lines of JSON become examples, or problems that are all told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.config.schema import Config
from shared.errors import DataError
from tasks.language_model.data import examples as data
from tests import tiny_language

SAID = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]


def config_of(place: Path, **settings: object) -> Config:
    return tiny_language.config(
        place.parent, place, place.parent / "model", data=settings, evaluation={"num_prompts": 2}
    )


def test_a_folder_of_files_gives_ids_by_file_and_line_or_their_own(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    tiny_language.write_examples(tmp_path / "deep" / "one.jsonl", [{"text": "a"}, {"id": "mine", "text": "b"}])
    tiny_language.write_examples(tmp_path / "two.jsonl", [{"messages": SAID}])
    (tmp_path / "model.json").write_text("{}")
    found = data.scan(config_of(tmp_path))
    assert [one.id for one in found] == ["deep/one/1", "mine", "two/1"]
    assert (found[2].question, found[2].expected) == ("hi", "ho")


def test_every_problem_is_told_in_one_error(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    lines = [
        '{"prompt": "a", "completion": "b"}', "{", "[]", '{"prompt": "a"}', '{"prompt": "a", "completion": " "}',
        '{"text": "a", "messages": []}', '{"instruction": "a", "output": "b"}',
        '{"messages": [{"role": "bot", "content": "a"}]}',
        '{"messages": [{"role": "user", "content": "a"}]}', '{"messages": [{"role": "user", "content": ["a"]}]}',
        '{"text": ""}', '{"text": "a", "id": "x"}', '{"text": "b", "id": "x"}',
    ]  # fmt: skip
    file.write_text("\n".join(lines))
    with pytest.raises(DataError) as told:
        data.scan(config_of(file))
    text = str(told.value)
    assert text.startswith("11 problem(s)")
    for number in range(2, 12):
        assert f"{file}:{number}: " in text
    assert "has instruction, output, none of the forms" in text
    assert "1 id(s) are there twice, such as x" in text


@pytest.mark.parametrize("place", ["nothing", "empty", "pictures.csv"])
def test_what_is_no_data_set_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures.csv").write_text("path,caption\n")
    with pytest.raises(DataError):
        data.scan(config_of(tmp_path / place))


def test_who_asks_the_same_is_on_one_side_and_a_group_as_well(tmp_path: Path) -> None:
    lines = [
        {"id": f"{number % 10}-{number}", "prompt": f"Say  {number % 20}", "completion": str(number)}
        for number in range(40)
    ]
    file = tiny_language.write_examples(tmp_path / "twice.jsonl", lines)
    config = config_of(file, num_validation=4, group_key="^[0-9]", validation_ids=["3-3"])
    found = data.scan(config)
    split = data.split(found, config)
    assert split.held_out[0] == "3-3"
    assert len(split.held_out) == 4
    training = split.training(found, config)
    asked = {one.question.split()[-1] for one in found if one.id in {*split.held_out}}
    assert not asked & {one.question.split()[-1] for one in training}
    groups = {name[0] for name in split.held_out}
    assert len(groups) == 4, "one of a group at most"
    assert not groups & {one.id[0] for one in training}
    assert len(training) + len(split.held_out) + len(split.set_apart) == 40


def test_unknown_ids_and_too_few_examples_are_refused(tmp_path: Path) -> None:
    file = tiny_language.write_examples(tmp_path / "few.jsonl", [{"text": "a"}, {"text": "A "}, {"text": "b"}])
    with pytest.raises(DataError, match="2 examples that ask different things"):
        data.split(data.scan(config_of(file)), config_of(file, num_validation=2))
    wrong = config_of(file, num_validation=2, validation_ids=["few/9"])
    with pytest.raises(DataError, match="few/9"):
        data.split(data.scan(wrong), wrong)
