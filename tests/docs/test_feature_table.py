"""docs/dashboard.md promises nothing that no test shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "dashboard.md"
TEXT = PAGE.read_text(encoding="utf-8")
MAX_BYTES = 300_000


@pytest.mark.parametrize(("name", "file"), sorted(set(re.findall(r"\[(test_\w+)\]\(([^)]+)\)", TEXT))))
def test_every_test_named_exists(name: str, file: str) -> None:
    assert f"def {name}(" in (PAGE.parent / file).read_text(encoding="utf-8")


def test_every_row_of_the_table_names_a_test() -> None:
    rows = [line for line in TEXT.partition("| feature |")[2].splitlines()[2:] if line.startswith("|")]
    assert len(rows) > 30
    assert [row for row in rows if "[test_" not in row] == []


@pytest.mark.parametrize("name", sorted(set(re.findall(r"images/[\w.-]+", TEXT))))
def test_pictures_stay_small(name: str) -> None:
    assert (PAGE.parent / name).stat().st_size < MAX_BYTES
