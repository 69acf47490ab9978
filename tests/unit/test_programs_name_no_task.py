"""The programs and what they share reach a task through the run's `run.task`, never by the name of one."""

from __future__ import annotations

import re

import pytest

import tasks
from tests.conftest import ROOT

NAMED = re.compile(rf"\btasks[./](?:{'|'.join(package.partition('.')[2] for package in tasks.TASKS.values())})\b")


@pytest.mark.parametrize("room", ["dashboard", "evaluator", "trainer", "shared"])
def test_no_program_names_the_package_of_a_task(room: str) -> None:
    files = [file for file in (ROOT / room).rglob("*") if file.suffix in (".py", ".js", ".toml", ".css")]
    assert files
    assert [file for file in files if NAMED.search(file.read_text(encoding="utf-8"))] == []
