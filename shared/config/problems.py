"""What is wrong with a tree of settings, in words: each problem with its key path and the nearest known key."""

from __future__ import annotations

import copy
import difflib
import re
from typing import Any

from pydantic import ValidationError

from shared.config.schema import Config, known_keys, sections
from shared.config.sections.base import false_is_none, zero_is_none

NOISE_OF_RULES = re.compile(
    r"^(?:Value error, |Input |(?:Tuple|List|String) (?=should))|(?: after validation)?, not \d+$"
)
"""What pydantic says of its own types, around the rule that a value broke."""


def problems_of(tree: dict[str, Any], kind: type[Config] = Config) -> list[str]:
    """What is wrong with each value, and which values contradict each other.

    pydantic looks for contradictions only where every value is right, so wrong ones are replaced by their defaults
    until nothing else is wrong.
    """
    texts: list[str] = []
    removed: set[str] = set()
    rest = copy.deepcopy(tree)
    while True:
        try:
            kind.model_validate(rest)
        except ValidationError as error:
            problems = [(problem, _describe(problem, kind)) for problem in error.errors()]
        else:
            return texts
        wrong = {key for problem, text in problems for key in _keys_of(problem, text, kind)}
        texts += [text for _, text in problems if not any(key in text for key in removed)]
        if wrong <= removed:
            return texts
        removed |= wrong
        for key in wrong:
            _remove(rest, key)


def _keys_of(problem: Any, text: str, kind: type[Config]) -> list[str]:
    """The key a problem is of; those its message names, where it is of a whole table."""
    keys = [key for key in known_keys(kind) if key in text]
    return [".".join(map(str, problem["loc"][:2]))] if len(problem["loc"]) > 1 or not keys else keys


def _remove(tree: dict[str, Any], key: str) -> None:
    """Let the default stand there; a data set's path has none."""
    section, _, name = key.partition(".")
    if not name or not isinstance(tree.get(section), dict):
        tree.pop(section, None)
    else:
        tree[section].pop(name, None)
    if key in ("data", "data.path"):
        tree.setdefault("data", {})["path"] = ""


def _describe(problem: Any, kind: type[Config]) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {path}{_did_you_mean(kind, *problem['loc'][:2])}"
    if problem["type"] == "missing":
        return f"{path} is missing"
    if problem["type"] == "value_error" and len(problem["loc"]) < 2:  # of a whole table: the message names its keys
        return problem["msg"].removeprefix("Value error, ")
    rule = NOISE_OF_RULES.sub("", problem["msg"]).replace("should", "must")
    value = list(problem["input"]) if isinstance(problem["input"], tuple) else problem["input"]
    return f"{path} is {value!r}, {rule}{_switched_off(path, kind)}"


def _switched_off(path: str, kind: type[Config]) -> str:
    """What else a setting may be: the values that switch it off."""
    section, _, key = path.partition(".")
    tables = sections(kind)
    field = tables[section].model_fields.get(key) if section in tables else None
    readers = [getattr(rule, "func", None) for rule in field.metadata] if field else []
    if zero_is_none in readers:
        return "; false or 0 switches it off"
    return ", or false" if false_is_none in readers else ""


def _did_you_mean(kind: type[Config], section: str, key: str = "") -> str:
    tables = sections(kind)
    if not key:
        near = difflib.get_close_matches(section, tables, n=1)
        return f", did you mean [{near[0]}]?" if near else ""
    near = difflib.get_close_matches(key, tables[section].model_fields, n=1)
    if near:
        return f", did you mean {section}.{near[0]}?"
    elsewhere = [known for known in known_keys(kind) if known.endswith(f".{key}")]
    return f", did you mean {elsewhere[0]}?" if elsewhere else ""
