"""`python docs/make_configuration.py`: write configuration.md from the settings' own descriptions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pydantic.fields import FieldInfo

from shared.config.save_interval import EverySteps, dump
from shared.config.schema import sections

TARGET = Path(__file__).with_name("configuration.md")

HEAD = """# Configuration

One TOML file describes a run. Precedence: the defaults below, then the file, then `section.key=value` on the command
line. All problems are reported at once, each with its key and the nearest known one. `configs/` holds whole runs.

This page is written by `python docs/make_configuration.py` from the descriptions in `shared/config/sections/`.
"""


def render() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(_section(name, model.model_fields) for name, model in sections().items())])


def _section(name: str, fields: dict[str, FieldInfo]) -> str:
    rows = [f"| `{key}` | {_default(field)} | {field.description} |" for key, field in fields.items()]
    return "\n".join([f"## [{name}]\n", "| key | default | meaning |", "| --- | --- | --- |", *rows, ""])


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
