"""What a refresh of the dashboard reads does not grow with the run: counted, not timed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import large_run
from benchmarks.large_run import Browser
from dashboard.data import csv_reader
from shared.run_folder.records.evaluation_result import EvaluationResult


@dataclass
class Read:
    """By one refresh."""

    num_bytes: int
    num_rows: int
    num_results: int


def read_by_a_refresh(folder: Path, num_steps: int, num_evaluations: int, monkeypatch: pytest.MonkeyPatch) -> Read:
    """After a new row in train.csv, on a page that has shown the run before."""
    fake = large_run.write_run(folder, num_steps, num_evaluations)
    monkeypatch.setenv("DARKROOM_RUNS", str(folder))
    browser = Browser(fake.run)
    browser.refresh()
    browser.refresh()
    rows: list[int] = []
    results: list[Path] = []
    parse, read = csv_reader.parse, EvaluationResult.read

    def parsed(text: bytes, wanted: tuple[str, ...]) -> pd.DataFrame:
        frame = parse(text, wanted)
        rows.append(len(frame))
        return frame

    def read_result(path: Path) -> EvaluationResult:
        results.append(path)
        return read(path)

    with monkeypatch.context() as counted, fake.run.train_csv.open("a", encoding="utf-8") as file:
        counted.setattr(csv_reader, "parse", parsed)
        counted.setattr(EvaluationResult, "read", read_result)
        file.write(large_run.row(num_steps + 1, 0.1))
        file.flush()
        before = large_run.read_bytes()
        browser.refresh()
        return Read(large_run.read_bytes() - before, sum(rows), len(results))


def test_a_refresh_of_a_large_run_reads_as_much_as_that_of_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = read_by_a_refresh(tmp_path / "small", 400, 4, monkeypatch)
    large = read_by_a_refresh(tmp_path / "large", 20_000, 40, monkeypatch)
    assert (small.num_rows, small.num_results) == (large.num_rows, large.num_results) == (1, 0)
    if small.num_bytes:  # counted by this system's kernel
        assert large.num_bytes < small.num_bytes + 2000, "steps with more digits stand in a few records"
