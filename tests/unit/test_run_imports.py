"""What import-linter cannot see, because run.py is a module and no package."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {"shared", "rich", "typer"}


def test_run_imports_nothing_of_ours_but_the_contract() -> None:
    tree = ast.parse((ROOT / "run.py").read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names) <= ALLOWED
