"""run.py lives as long as a training: it holds no torch."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import tasks
from tests.conftest import run_python

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {"shared", "tasks", "rich", "typer"}
HEAVY = ("torch", "diffusers", "transformers", "peft", "accelerate")


def test_run_imports_nothing_of_ours_but_shared_and_tasks() -> None:
    tree = ast.parse((ROOT / "run.py").read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names) <= ALLOWED


def test_run_names_no_task() -> None:
    text = (ROOT / "run.py").read_text(encoding="utf-8")
    assert [name for name in tasks.TASKS if f"tasks.{name}" in text] == []


def test_neither_run_nor_a_familys_file_nor_a_verdict_loads_torch() -> None:
    modules = "run, tasks.text_to_image.families.known, evaluator.replay"
    looked = f"import sys, {modules}; print([m for m in {HEAVY} if m in sys.modules])"
    found = run_python("-c", looked)
    assert found.stdout.strip() == "[]", found.stderr
