"""No program is started through a shell: a setting with `;` or `$()` is one argument of many, and no command."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from shared.launch.supervisor import python_module
from tests.conftest import ROOT, finish

FOLDERS = ("shared", "trainer", "evaluator", "dashboard", "tasks", "pocket", "examples")
SOURCES = [ROOT / "run.py", *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))]
SHELLS = {("os", "system"), ("os", "popen"), ("subprocess", "getoutput"), ("subprocess", "getstatusoutput")}


def through_a_shell(source: str) -> list[int]:
    """Lines that start a program through a shell."""
    lines: list[int] = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            lines += [node.lineno] if (called.value.id, called.attr) in SHELLS else []
        lines += [node.lineno for keyword in node.keywords if keyword.arg == "shell"]
    return lines


def test_no_program_of_ours_uses_a_shell() -> None:
    assert len(SOURCES) > 300
    assert {path.name: lines for path in SOURCES if (lines := through_a_shell(path.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize("line", ["subprocess.run(command, shell=True)", "os.system(command)"])
def test_one_that_did_would_be_found(line: str) -> None:
    assert through_a_shell(f"import os, subprocess\n{line}\n") == [2]


def test_what_a_shell_would_execute_arrives_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text("import sys; print(sys.argv[1])", encoding="utf-8")
    hostile = f"a b; touch {tmp_path / 'canary'} $(touch {tmp_path / 'canary'}) `touch {tmp_path / 'canary'}`"
    told = finish(*python_module("echo", hostile), PYTHONPATH=str(tmp_path))
    assert told.stdout == f"{hostile}\n", told.stderr
    assert not (tmp_path / "canary").exists()
