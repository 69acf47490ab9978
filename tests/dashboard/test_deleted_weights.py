"""Weights that `train.snapshots_total_limit` has deleted: the results stay on every page and in the report."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import report
from dashboard.components.snapshot_details import facts_html, head_html
from dashboard.data.reader import RunReader
from dashboard.story.evidence import gather
from dashboard.story.filmstrip import filmstrip
from dashboard.story.snapshots import table
from dashboard.story.verdict.downloads import downloads
from evaluator.retention import delete
from examples.fake_run.run import FakeRun
from tests.dashboard.test_pages import open_page, page

__all__ = ["page"]


@pytest.fixture
def reader(finished: FakeRun) -> RunReader:
    reader = RunReader(finished.run, finished.record.run_id)
    assert reader.manifest(80), "as a page has read it before"
    assert delete(finished.run, 80, 3)
    return reader


def test_pages_keep_the_results_and_say_that_the_weights_are_gone(reader: RunReader) -> None:
    assert reader.snapshot_steps() == [40, 80, 120, 160, 200], "its place stays"
    assert reader.deleted_steps() == {80}
    assert table(reader).lines[80].verdict.endswith("; weights deleted")
    assert "weights deleted" not in table(reader).lines[120].verdict
    assert "⊘ weights deleted" in head_html(reader, 80)
    now = datetime.now(UTC)
    cells = {cell.step: cell for cell in filmstrip(gather(reader, now, UTC))}
    assert "weights deleted" in cells[80].words
    assert cells[80].thumbnail, "its picture stays"
    deleted = reader.deleted(80)
    assert deleted
    assert deleted.snapshot.files[0].sha256 in facts_html(deleted.snapshot, now, UTC)
    assert reader.manifest(80) is None, "nothing is offered to download"
    assert downloads(reader, 80, None) == ()


def test_the_report_names_them_and_shows_their_pictures(reader: RunReader) -> None:
    text = report.render(reader)
    assert "Weights deleted (train.snapshots_total_limit): step 80. Results and pictures stay." in text
    assert '"80"' in text


def test_the_snapshot_page_offers_neither_files_nor_new_pictures(reader: RunReader, page: AppTest) -> None:
    page.query_params["step"] = "80"
    shown = open_page(page, "snapshots")
    assert not shown.exception
    assert "train.snapshots_total_limit is 3" in shown.info[0].value
    assert [button for button in shown.button if "Convert" in button.label] == []
    assert not shown.text_area or all("prompts" not in area.label for area in shown.text_area)
