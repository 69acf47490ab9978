"""Settings, whatever somebody writes: right ones come back from the disk, wrong ones are one error that lists all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.config.dumping import dump_config
from shared.config.loading import load_config, parse_config
from shared.config.overrides import parse_overrides
from shared.config.schema import Config, known_keys, sections
from shared.errors import ConfigError
from tests.properties import EXAMPLES, error_of, holds

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=30)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**31), 2**31),
    st.floats(allow_nan=True, allow_infinity=True),
    TEXT,
    st.lists(st.integers(-5, 5000), max_size=3),
    st.sampled_from(["2 epochs", "10 minutes", "auto", "bf16", "constant", "cosine", "", "0", "../x"]),
)
KEYS = sorted(key for key in known_keys() if key != "run.task")
MINIMAL: dict[str, Any] = {"run": {"name": "run"}, "data": {"path": "pictures"}}


def laid(values: dict[str, Any]) -> dict[str, Any]:
    tree = {table: dict(keys) for table, keys in MINIMAL.items()}
    for key, value in values.items():
        table, _, name = key.partition(".")
        tree.setdefault(table, {})[name] = value
    return tree


def accepted(key: str, value: Any) -> bool:
    """By the rule of the key itself; it may still contradict another one."""
    try:
        Config.model_validate(laid({key: value}))
    except ValidationError as error:
        return not any(".".join(map(str, one["loc"][:2])) == key for one in error.errors())
    return True


@EXAMPLES
def test_every_wrong_value_is_listed_in_one_error(examples: int) -> None:
    def check(values: dict[str, Any]) -> None:
        wrong = [key for key, value in values.items() if not accepted(key, value)]
        error = error_of(lambda: parse_config(laid(values)))
        assert error or not wrong
        assert error is None or error.hint
        assert [key for key in wrong if key not in str(error)] == []

    holds(check, examples, st.dictionaries(st.sampled_from(KEYS), SCALARS, max_size=6))


@EXAMPLES
def test_what_is_right_comes_back_equal(examples: int, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"

    def check(values: dict[str, Any]) -> None:
        right = {key: value for key, value in values.items() if accepted(key, value)}
        try:
            config = parse_config(laid(right))
        except ConfigError:
            return  # right by themselves, and contradicting one another
        path.write_text(dump_config(config), encoding="utf-8", newline="\n")
        again = Config.model_validate(tomlkit.parse(path.read_text(encoding="utf-8")).unwrap())
        assert again == config

    holds(check, examples, st.dictionaries(st.sampled_from(KEYS), SCALARS, max_size=6))


@EXAMPLES
def test_a_file_of_anything_is_settings_or_one_error(examples: int, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    lines = st.one_of(TEXT, st.builds("[{}]".format, TEXT), st.builds("{} = {}".format, TEXT, TEXT))

    def check(data: bytes) -> None:
        path.write_bytes(data)
        error = error_of(lambda: load_config(path))
        assert error is None or (str(error) and error.hint)

    texts = st.lists(lines, max_size=5).map(lambda some: "\n".join(some).encode())
    holds(check, examples, st.one_of(st.binary(max_size=60), texts))


@EXAMPLES
def test_overrides_of_anything_are_settings_or_one_error(examples: int) -> None:
    def check(overrides: list[str]) -> None:
        tree, problems = parse_overrides(overrides)
        error = error_of(lambda: parse_config({**tree, "data": {"path": "p", **tree.get("data", {})}}, problems))
        assert [problem for problem in problems if problem not in str(error)] == []

    some = st.one_of(TEXT, st.builds("{}={}".format, st.sampled_from(KEYS), TEXT))
    holds(check, examples, st.lists(some, max_size=4))


def test_every_table_and_key_is_among_those_that_are_tried() -> None:
    assert {key.partition(".")[0] for key in KEYS} == set(sections())


def test_two_wrong_values_of_a_table_are_both_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(laid({"train.learning_rate": -1.0, "train.seed": -1, "lora.rank": 0}))
    assert all(key in str(caught.value) for key in ("train.learning_rate", "train.seed", "lora.rank"))
