"""docs/reliability.md and SECURITY.md promise nothing that no test shows: each fault has a real test, or a reason."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = (ROOT / "docs" / "reliability.md", ROOT / "SECURITY.md")
ROW = re.compile(r"^\| F(\d\d) \|(.+)\|$", re.MULTILINE)
ROWS = {int(number): row for number, row in ROW.findall(PAGES[0].read_text(encoding="utf-8"))}
NAMED = re.compile(r"\[(test_\w+)\]\(([^)]+)\)")


@cache
def names_in(file: Path) -> frozenset[str]:
    """The tests that pytest would collect there; what only looks like one, in a text or a comment, is none."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_every_fault_has_one_row() -> None:
    numbers = [int(number) for number, _ in ROW.findall(PAGES[0].read_text(encoding="utf-8"))]
    assert numbers == list(range(1, 64))


@pytest.mark.parametrize("number", ROWS)
def test_a_fault_has_a_test_or_says_why_not(number: int) -> None:
    *_, fault, happens, lost, shown = (cell.strip() for cell in ROWS[number].split(" | "))
    assert all((fault, happens, lost, shown))
    assert NAMED.search(shown) or re.search(r"[Nn]ot possible here: \w|[Nn]ot tested yet", shown)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_is_named_exists(page: Path) -> None:
    named = NAMED.findall(page.read_text(encoding="utf-8"))
    assert len(named) > 20
    assert [name for name, file in named if name not in names_in((page.parent / file).resolve())] == []
