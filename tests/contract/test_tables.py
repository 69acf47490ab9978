"""A reader while another process writes: every row it meets is a true one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared.run_folder.tables import MAX_CELL, Appender, read_rows, write_rows
from tests.conftest import ROOT, environment

APPEND = """
import sys
from pathlib import Path
from shared.run_folder.tables import Appender
table = Appender(Path(sys.argv[1]), ("step", "loss", "note"))
for step in range(1, 4001):
    table.append({"step": step, "loss": step * 21.5, "note": "x" * (step % 50)})
"""

REPLACE = """
import sys
from pathlib import Path
from shared.run_folder.tables import write_rows
for size in range(1, 200):
    write_rows(Path(sys.argv[1]), ("step", "loss", "note"),
               [{"step": step, "loss": step * 21.5, "note": "x" * (step % 50)} for step in range(1, size + 1)])
"""


def read_while(script: str, path: Path) -> list[int]:
    """Read the table over and over while the script writes it; returns how many rows each read met."""
    lengths: list[int] = []
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], env=environment(), cwd=ROOT)
    running = True
    while running:
        running = process.poll() is None
        rows = read_rows(path)
        for number, row in enumerate(rows, 1):
            assert row == {"step": str(number), "loss": str(number * 21.5), "note": "x" * (number % 50)}
        lengths.append(len(rows))
    assert process.returncode == 0
    return lengths


def test_a_reader_never_sees_a_wrong_number_while_rows_are_appended(tmp_path: Path) -> None:
    lengths = read_while(APPEND, tmp_path / "train.csv")
    assert lengths == sorted(lengths)
    assert lengths[-1] == 4000


def test_a_reader_never_sees_half_a_table_while_it_is_replaced(tmp_path: Path) -> None:
    lengths = read_while(REPLACE, tmp_path / "metrics.csv")
    assert lengths == sorted(lengths)
    assert lengths[-1] == 199


TEXTS = {
    "commas, quotes and a backslash": 'a "red", \\ dress',
    "line breaks": "a red\r\n dress\n",
    "a formula": "=cmd|' /C calc'!A0",
    "other scripts and emoji": "着物, ein Kleid – 👗",
    "a NUL and half a character": "a\0b\ud800",
    "a megabyte": "dress, " * 150_000,
    "nothing": "",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_comes_back_in_one_row_whatever_is_in_it(tmp_path: Path, text: str) -> None:
    """F30. Runs of blanks and line breaks come back as one blank: a row is one line."""
    path, rows = tmp_path / "table.csv", [{"step": 1, "reason": text}, {"step": 2, "reason": "after it"}]
    table = Appender(path, ("step", "reason"))
    for row in rows:
        table.append(row)
    expected = " ".join(text.split()).encode("utf-8", errors="replace").decode()
    found, after = (row["reason"] for row in read_rows(path))
    assert after == "after it"
    assert found == (expected if len(expected) <= MAX_CELL else f"{expected[: MAX_CELL - 1]}…")
    write_rows(tmp_path / "again.csv", ("step", "reason"), rows)
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()
    assert path.read_bytes().count(b"\n") == 3
