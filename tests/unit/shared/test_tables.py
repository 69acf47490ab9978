"""CSV files: whole lines or nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.errors import RunFolderError
from shared.tables import (
    LEADING_METRIC_COLUMNS,
    METRIC_COLUMNS,
    TRAIN_COLUMNS,
    Appender,
    prune,
    read_rows,
    write_rows,
)

COLUMNS = ("step", "loss", "note")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


def test_an_absent_file_is_an_empty_table(path: Path) -> None:
    assert read_rows(path) == []
    assert prune(path, lambda row: False) == 0


def test_rows_come_back_as_they_were_written(path: Path) -> None:
    table = Appender(path, COLUMNS)
    table.append({"step": 1, "loss": 0.1 + 0.2, "note": None})
    table.append({"step": 2, "loss": float("nan")})
    assert read_rows(path) == [
        {"step": "1", "loss": "0.30000000000000004", "note": ""},
        {"step": "2", "loss": "nan", "note": ""},
    ]


@pytest.mark.parametrize("text", ['a, "b" and c', "=SUM(A1)", "ünïcode 👗", "'", " padded"])
def test_commas_quotes_and_formulas_round_trip(path: Path, text: str) -> None:
    Appender(path, COLUMNS).append({"step": 1, "note": text})
    assert read_rows(path)[0]["note"] == " ".join(text.split())


def test_a_value_never_spans_two_lines(path: Path) -> None:
    Appender(path, COLUMNS).append({"step": 1, "note": "first\r\nsecond\u2028third\x0bfourth"})
    assert path.read_bytes().count(b"\n") == 2
    assert read_rows(path)[0]["note"] == "first second third fourth"


def test_reader_ignores_a_torn_last_line(path: Path) -> None:
    path.write_bytes(b"step,loss,note\n100,0.31,\n200,0.29,2")
    assert [row["step"] for row in read_rows(path)] == ["100"]


def test_a_table_cut_anywhere_shows_only_whole_true_rows(path: Path) -> None:
    table = Appender(path, COLUMNS)
    for step in (100, 200, 300):
        table.append({"step": step, "loss": step * 1.25, "note": "x"})
    whole, rows = path.read_bytes(), read_rows(path)
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        assert read_rows(path) == rows[: max(0, whole[:length].count(b"\n") - 1)]


def test_appender_cuts_a_torn_last_line_off_before_it_writes(path: Path) -> None:
    path.write_bytes(b"step,loss,note\n1,0.5,\n2,0.")
    Appender(path, COLUMNS).append({"step": 2, "loss": 0.4})
    assert path.read_bytes() == b"step,loss,note\n1,0.5,\n2,0.4,\n"


@pytest.mark.parametrize("content", [b"", b"step,lo"])
def test_appender_writes_the_header_anew_when_none_is_whole(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    Appender(path, COLUMNS)
    assert path.read_bytes() == b"step,loss,note\n"


def test_appender_leaves_a_whole_table_untouched(path: Path) -> None:
    path.write_bytes(b"step,loss,note\n1,0.5,\n")
    before = path.stat()
    Appender(path, COLUMNS)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_appender_refuses_another_header_and_changes_nothing(path: Path) -> None:
    path.write_bytes(b"step,loss\n1,0.5\n")
    with pytest.raises(RunFolderError, match="other columns"):
        Appender(path, COLUMNS)
    assert path.read_bytes() == b"step,loss\n1,0.5\n"


def test_a_row_the_disk_takes_only_in_part_is_cut_off_again_and_said(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, write = Appender(path, COLUMNS), os.write
    table.append({"step": 1, "loss": 0.5})
    whole = path.read_bytes()
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    with pytest.raises(OSError, match="No space left") as caught:
        table.append({"step": 2, "loss": 0.25})
    assert caught.value.filename == str(path)
    assert path.read_bytes() == whole
    monkeypatch.undo()
    table.append({"step": 2, "loss": 0.25})
    assert [row["step"] for row in read_rows(path)] == ["1", "2"]


def test_a_key_that_is_no_column_is_refused(path: Path) -> None:
    table = Appender(path, COLUMNS)
    with pytest.raises(KeyError, match="los"):
        table.append({"los": 1})
    assert read_rows(path) == []


def test_prune_keeps_what_it_is_told_to_and_counts_the_rest(path: Path) -> None:
    table = Appender(path, COLUMNS)
    for step in range(1, 6):
        table.append({"step": step, "loss": step / 3, "note": "a, b"})
    kept = read_rows(path)[:3]
    assert prune(path, lambda row: int(row["step"]) <= 3) == 2
    assert read_rows(path) == kept
    assert prune(path, lambda row: int(row["step"]) <= 3) == 0
    Appender(path, COLUMNS).append({"step": 4})
    assert [row["step"] for row in read_rows(path)] == ["1", "2", "3", "4"]


def test_write_rows_replaces_the_whole_table(path: Path) -> None:
    write_rows(path, COLUMNS, [{"step": 1}, {"step": 2}])
    write_rows(path, COLUMNS, [{"step": 9, "loss": 0.5}])
    assert path.read_bytes() == b"step,loss,note\n9,0.5,\n"


def test_the_promised_columns_lead() -> None:
    promised = "step,epoch,total_loss,visual_loss,fashion_clip_loss,color_loss,learning_rate,timestamp"
    assert ",".join(METRIC_COLUMNS).startswith(promised + ",")
    assert ",".join(LEADING_METRIC_COLUMNS) == promised
    assert len(set(METRIC_COLUMNS)) == len(METRIC_COLUMNS)
    assert TRAIN_COLUMNS[:4] == ("step", "epoch", "loss", "learning_rate")
