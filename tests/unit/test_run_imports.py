"""run.py lives as long as a training: it holds no torch."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import typer.main

import run
import tasks
from tests.conftest import run_python

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {"shared", "tasks", "rich", "typer"}
ROOMS = ("shared/launch/commands", "shared/launch/attended", "tasks/commands")
FILES = [ROOT / "run.py", *(path for room in ROOMS for path in (ROOT / room).glob("*.py"))]
"""The command and what its commands are."""
HEAVY = ("torch", "diffusers", "transformers", "peft", "accelerate")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_run_imports_nothing_of_ours_but_shared_and_tasks(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names) <= ALLOWED


def test_run_names_no_task() -> None:
    texts = [file.read_text(encoding="utf-8") for file in FILES]
    assert len(texts) > len(run.COMMANDS)
    assert [name for name in tasks.TASKS if any(f"tasks.{name}" in text for text in texts)] == []


@pytest.mark.parametrize("name", run.COMMANDS)
def test_the_help_of_all_commands_says_of_each_what_its_own_does(name: str) -> None:
    later = typer.main.get_command(run.app).commands[name]  # pyright: ignore[reportAttributeAccessIssue]
    assert later.help
    assert later.get_short_help_str() == later.command.get_short_help_str()


def test_the_help_of_all_commands_reads_the_file_of_none() -> None:
    looked = (
        "import sys, run; from typer.testing import CliRunner as R; print(R().invoke(run.app, ['--help']).exit_code)"
    )
    found = run_python("-c", f"{looked}; print([m for m in ('tasks', 'pydantic', 'numpy') if m in sys.modules])")
    assert found.stdout.split("\n")[:2] == ["0", "[]"], found.stderr


def test_neither_run_nor_a_familys_file_nor_a_verdict_loads_torch() -> None:
    commands = ", ".join(f"{package}.{name}" for name, (package, _) in run.COMMANDS.items())
    modules = f"run, {commands}, tasks.text_to_image.families.known, evaluator.replay"
    looked = f"import sys, {modules}; print([m for m in {HEAVY} if m in sys.modules])"
    found = run_python("-c", looked)
    assert found.stdout.strip() == "[]", found.stderr
