"""A command whose file is read only when somebody calls it: `run.py --help` shows them all and imports none."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

ROOT = Path(__file__).resolve().parents[3]


class Later(TyperCommand):
    """`name`: a function, or a Typer of further commands, in `package.name`."""

    def __init__(self, package: str, name: str, context_settings: Mapping[str, Any]) -> None:
        super().__init__(name, help=first_paragraph(package, name))
        self._module, self._settings = f"{package}.{name}", dict(context_settings)

    @cached_property
    def command(self) -> Any:
        """The command itself."""
        found = getattr(importlib.import_module(self._module), self._module.rpartition(".")[2])
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            alone.command(self.name, context_settings=self._settings)(found)
            found = alone
        return typer.main.get_command(found)

    def make_context(self, *given: Any, **further: Any) -> Any:
        """That of the command itself, which is thereby the one that is called."""
        return self.command.make_context(*given, **further)


def first_paragraph(package: str, name: str) -> str:
    """How the docstring of the command begins: of its function, or of the callback of its Typer."""
    source = ROOT.joinpath(*package.split("."), f"{name}.py").read_text(encoding="utf-8")
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    named = next((node for node in functions if node.name == name), functions[0])
    return (ast.get_docstring(named) or "").partition("\n\n")[0]
