"""The table of speeds: README has what the newest report says, and `make bench` knows its scripts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import bench, row
from benchmarks.bench import Section
from tests.conftest import ROOT


@pytest.mark.parametrize("name", bench.READMES)
def test_readme_says_what_the_newest_report_says(name: str) -> None:
    report = bench.newest_report()
    assert report
    text = (ROOT / name).read_text(encoding="utf-8")
    assert report.name in text
    assert text == bench.readme_with(text, report), "run: python benchmarks/bench.py --readme"


def test_the_table_of_a_report_is_that_of_its_scripts_and_the_readme_has_the_first_rows_of_each() -> None:
    report = bench.newest_report()
    assert report
    text, readme = report.read_text(encoding="utf-8"), (ROOT / "README.md").read_text(encoding="utf-8")
    sections = bench.sections_in(text)
    assert sections
    for section in sections.values():
        assert section.rows
        assert text.count(section.rows[0]) == 2, "in the table and in what the script printed"
        assert all(row in readme for row in section.rows[: bench.README_ROWS])


def test_every_script_exists_and_has_a_quick_form() -> None:
    for name in bench.SCRIPTS:
        assert "--quick" in (ROOT / "benchmarks" / name).read_text(encoding="utf-8"), name


def test_a_report_is_read_as_it_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    row.tell([row.Row("how long", "a script", row.ratio([1.5, 1.0, 2.0]), "≤ 1"), row.Row("again", "–", "3 s")])
    printed = f"before\n{capsys.readouterr().out}after | all\n"
    assert row.rows_in(printed) == [
        "| how long | a script | 1.50 (1.00–2.00), 3 pairs | ≤ 1 |",
        "| again | – | 3 s | – |",
    ]
    name = bench.SCRIPTS[0]
    section = Section(name, "3 s, load before it 0.1", printed)
    report = bench.report_of({name: section}, "today")
    assert bench.sections_in(report)[name].rows == section.rows
    assert bench.report_of(bench.sections_in(report), "today") == report


def test_a_script_that_fails_is_a_row_and_an_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "one.py").write_text("print('half'); raise SystemExit(7)")
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    section, succeeded = bench.measured("one.py", quick=True)
    assert not succeeded
    assert section.rows == ["| one.py | – | failed: exit code 7 | – |"]


def test_a_script_that_lacks_something_here_is_a_row_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "benchmarks").mkdir()
    said = "import sys; print('error: there is no checkout\\nhint: get one', file=sys.stderr); sys.exit(2)"
    (tmp_path / "benchmarks" / "one.py").write_text(said)
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    section, succeeded = bench.measured("one.py", quick=True)
    assert succeeded
    assert section.rows == ["| one.py | – | not measured: there is no checkout | – |"]


def test_only_names_scripts_that_there_are() -> None:
    command = [sys.executable, "benchmarks/bench.py", "--only", "none.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "hot_swap.py" in done.stderr
