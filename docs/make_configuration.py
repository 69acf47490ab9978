"""`python docs/make_configuration.py`: write configuration.md from the settings' own descriptions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pydantic.fields import FieldInfo

from shared.config.resume_rule import CHANGEABLE, Rule
from shared.config.save_interval import EverySteps, dump
from shared.config.schema import rule_of, sections

TARGET = Path(__file__).with_name("configuration.md")

HEAD = """# Configuration

One TOML file describes a run. Precedence: the defaults below, then the file, then `section.key=value` on the command
line. All problems are reported at once, each with its key and the nearest known one. `configs/` holds whole runs.

The last column of each table says whether a run may be resumed with another value:

{rules}

A task of your own can have [one more table](adding-a-task.md#its-own-settings).

This page is written by `python docs/make_configuration.py` from the descriptions in `shared/config/sections/`.
"""


def render() -> str:
    """The whole page."""
    return "\n".join(
        [HEAD.format(rules=_rules()), *(_section(name, model.model_fields) for name, model in sections().items())]
    )


def _section(name: str, fields: dict[str, FieldInfo]) -> str:
    rows = [
        f"| `{key}` | {_default(field)} | {field.description} | {_may_change(rule_of(key, field))} |"
        for key, field in fields.items()
    ]
    head = ["| key | default | meaning | on resume |", "| --- | --- | --- | --- |"]
    return "\n".join([f"## [{name}]\n", *head, *rows, ""])


def _rules() -> str:
    """What the last column's words mean, a row for each rule."""
    how = {
        Rule.SESSION: "freely",
        **dict.fromkeys(CHANGEABLE, "with `--allow-change KEY`"),
        Rule.RESULTS: "with `--allow-change KEY`, until the first evaluation",
    }
    rows = [f"| {_may_change(rule)} | {how.get(rule, 'never')} | {rule.value} |" for rule in Rule]
    return "\n".join(["| on resume | may change | because |", "| --- | --- | --- |", *rows])


def _may_change(rule: Rule) -> str:
    return f"{'yes' if rule in (Rule.SESSION, *CHANGEABLE) else 'no'}: {rule.name.lower()}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, EverySteps):
        value = dump(value)
    choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
    text = "none" if value is None else f"`{_toml(value)}`"
    return f"{text} of {', '.join(f'`{choice}`' for choice in choices)}" if choices else text


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return str(value)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
