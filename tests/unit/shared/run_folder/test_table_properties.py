"""Tables, whatever stands in a cell and wherever a write was torn: whole rows come back, half ones never."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from shared.run_folder.tables import MAX_CELL, Appender, Value, prune, read_rows, whole_lines, write_rows
from tests.properties import EXAMPLES, holds

COLUMNS = ("step", "loss", "text")
TEXT = st.text(max_size=40)
CELLS = st.fixed_dictionaries(
    {"step": st.integers(0, 10**9), "loss": st.one_of(st.none(), st.floats(allow_nan=False)), "text": TEXT}
)
ROWS = st.lists(CELLS, max_size=5)


def said(row: dict[str, Value]) -> dict[str, str]:
    """As a reader gets it."""
    text = " ".join(str(row["text"]).encode("utf-8", errors="replace").decode().split())
    return {"step": str(row["step"]), "loss": "" if row["loss"] is None else str(row["loss"]), "text": text}


@EXAMPLES
def test_what_is_appended_or_written_comes_back(examples: int, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"

    def check(rows: list[dict[str, Value]], later: list[dict[str, Value]]) -> None:
        path.unlink(missing_ok=True)
        write_rows(path, COLUMNS, rows)
        appender = Appender(path, COLUMNS)
        for row in later:
            appender.append(row)
        assert read_rows(path) == [said(row) for row in (*rows, *later)]
        assert path.read_bytes().count(b"\n") == 1 + len(rows) + len(later)

    holds(check, examples, ROWS, ROWS)


@EXAMPLES
def test_wherever_the_end_is_torn_off_a_row_is_there_or_not_yet(examples: int, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"

    def check(rows: list[dict[str, Value]], cut: int, more: dict[str, Value]) -> None:
        write_rows(path, COLUMNS, rows)
        data = path.read_bytes()
        header = len(data.partition(b"\n")[0]) + 1
        kept = header + cut % (len(data) - header + 1)
        path.write_bytes(data[:kept])
        found = read_rows(path)
        assert found == [said(row) for row in rows][: len(found)]
        assert len(found) == data[:kept].count(b"\n") - 1
        Appender(path, COLUMNS).append(more)
        assert read_rows(path) == [*found, said(more)], "the torn part is cut off first"

    holds(check, examples, ROWS, st.integers(0, 10**6), CELLS)


@EXAMPLES
def test_any_bytes_are_a_table_of_whole_lines(examples: int, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        assert data.startswith(whole_lines(path))
        assert len(read_rows(path)) <= data.count(b"\n") + data.count(b"\r") + 1

    holds(check, examples, st.one_of(st.binary(max_size=80), st.text('a,"\r\n\0é', max_size=60).map(str.encode)))


@EXAMPLES
def test_pruning_keeps_what_is_accepted_and_nothing_else(examples: int, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"

    def check(rows: list[dict[str, Value]], last: int) -> None:
        write_rows(path, COLUMNS, rows)
        gone = prune(path, lambda row: int(row["step"]) <= last)
        assert read_rows(path) == [said(row) for row in rows if int(str(row["step"])) <= last]
        assert gone == len(rows) - len(read_rows(path))

    holds(check, examples, ROWS, st.integers(0, 10**9))


def test_the_longest_cell_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_rows(path, COLUMNS, [{"step": 1, "text": '"' * (2 * MAX_CELL)}])
    assert len(read_rows(path)[0]["text"]) == MAX_CELL
