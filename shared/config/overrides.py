"""`section.key=value` on the command line, laid over a file's settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import tomlkit
from tomlkit.exceptions import TOMLKitError

from shared.config.schema import ENDS, value_in


def parse_overrides(overrides: Sequence[str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The tree of settings that they give, and what is wrong with the others."""
    tree: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.strip().split(".")
        if equals and len(parts) == 2 and all(parts):
            tree.setdefault(parts[0], {})[parts[1]] = _parse_value(text.strip())
        else:
            problems.append(f"override {override!r} is not section.key=value, for example train.max_train_steps=40")
    return tree, problems


def overlay(tree: dict[str, Any], given: dict[str, dict[str, Any]]) -> None:
    """Put the given settings into the tree, in place; one of ENDS removes the other, which the file may have."""
    for section, keys in given.items():
        table = tree.setdefault(section, {})
        if isinstance(table, dict):  # validation reports anything else
            table = cast("dict[str, Any]", table)
            for key in ENDS if section == "train" and set(ENDS) & keys.keys() else ():
                table.pop(key, None)
            table.update(keys)


def two_ends(tree: dict[str, Any]) -> list[str]:
    """A problem where one source of settings says twice when training ends."""
    if all(value_in(tree, f"train.{key}") not in (None, False) for key in ENDS):
        return [f"train.{ENDS[0]} and train.{ENDS[1]} both say when training ends: leave one of them out"]
    return []


def _parse_value(text: str) -> Any:
    """A TOML value, or the bare text: `model.path=runwayml/sd` needs no quotes."""
    try:
        return tomlkit.parse(f"value = {text}").unwrap()["value"]
    except TOMLKitError:
        return text
