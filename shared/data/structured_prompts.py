"""Prompts in the structured forms of kohya's `--sample_prompts`: TOML and JSON.

    [prompt]
    width = 512
    [[prompt.subset]]
    prompt = "[trigger] in a forest"

`[prompt]` has what all subsets share. JSON is a list of such tables, or of lines as in a text file.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any, cast

from shared.errors import ConfigError

ENDINGS = (".toml", ".json")
LETTERS = {
    "negative_prompt": "n",
    "width": "w",
    "height": "h",
    "sample_steps": "s",
    "scale": "l",
    "seed": "d",
    "control_image_path": "ci",
}
"""Key → the option of a line that means the same."""
Entry = str | dict[str, Any]
"""A line, or its prompt and options by key."""
TOML_CURE = 'write a table [[prompt.subset]] with prompt = "…" for each prompt; [prompt] has what all of them share'
JSON_CURE = 'write a list: [{"prompt": "…"}, …]'


def entries(text: str, name: str, ending: str) -> list[Entry]:
    """The prompts in the order of the file. name: of the file, for errors; ending: one of `ENDINGS`.

    Raises:
        ConfigError: the file has another form.
    """
    return _of_toml(text, name) if ending == ".toml" else _of_json(text, name)


def ending_of(text: str, name: str) -> str:
    """In which of the forms a text is: by the file's ending, else by what it holds, as a run's own copy has no ending
    that says it. Empty: a line for each prompt."""
    if ending := next((one for one in ENDINGS if name.lower().endswith(one)), ""):
        return ending
    for one in ENDINGS:
        try:
            if entries(text, name, one):
                return one
        except ConfigError:
            continue
    return ""


def _of_toml(text: str, name: str) -> list[Entry]:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"evaluation.prompts: {name} is no TOML: {error}", TOML_CURE) from None
    shared: Any = tree.get("prompt")
    subsets: Any = cast("Mapping[str, Any]", shared).get("subset") if isinstance(shared, dict) else None
    if not isinstance(subsets, list) or not all(isinstance(one, dict) for one in cast("list[Any]", subsets)):
        raise ConfigError(f"evaluation.prompts: {name} has no [[prompt.subset]]", TOML_CURE)
    common = {key: value for key, value in cast("dict[str, Any]", shared).items() if key != "subset"}
    return [common | one for one in cast("list[dict[str, Any]]", subsets)]


def _of_json(text: str, name: str) -> list[Entry]:
    try:
        tree: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"evaluation.prompts: {name} is no JSON: {error}", JSON_CURE) from None
    if not isinstance(tree, list) or not all(isinstance(one, (str, dict)) for one in cast("list[Any]", tree)):
        raise ConfigError(f"evaluation.prompts: {name} is no list of prompts", JSON_CURE)
    return [
        {key: value for key, value in one.items() if value is not None} if isinstance(one, dict) else one
        for one in cast("list[Entry]", tree)
    ]
