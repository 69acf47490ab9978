"""A metric that is described in the run folder is shown everywhere; no program but its task knows it by name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from dashboard import report
from dashboard.charts.axis import Look, XAxis
from dashboard.charts.overlay import Run, overlay_figure
from dashboard.charts.quality import quality_figure
from dashboard.components.wall import wall_data
from dashboard.data.best_snapshot import best_table_html
from dashboard.data.comparison import Contestant, score_table
from dashboard.data.reader import RunReader
from dashboard.story.snapshots import table
from dashboard.text import language
from evaluator.results_table import ResultsTable, publish_descriptions
from examples.fake_run.history import write_history
from examples.fake_run.run import create
from shared.launch.terminal import describe_result
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.tables import read_rows
from tasks.text_to_image import metrics as task_metrics
from tests.conftest import ROOT
from tests.new_metric import new_metric


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunReader]:
    """Of a run whose evaluator had one metric more; its tables are the evaluator's own."""
    with new_metric(tmp_path_factory.mktemp("metric")) as described:
        fake = create(
            tmp_path_factory.mktemp("new") / "runs" / "new", steps=40, snapshot_steps=8, descriptions=described
        )
        write_history(fake)
        fake.run.metric_descriptions.unlink()
        publish_descriptions(fake.run, described)
        ResultsTable(fake.run).rebuild()
        yield RunReader(fake.run, fake.record.run_id)


def test_it_is_in_the_table_the_composite_and_the_verdict(reader: RunReader) -> None:
    published = json.loads(reader.run.metric_descriptions.read_bytes())
    names = [metric["name"] for metric in published["metrics"]]
    assert names.index("fashion") < names.index("exposure") < names.index("color")
    row, best = read_rows(reader.run.metrics_csv)[1], reader.run.read_best()
    assert float(row["exposure_delta"]) > 0
    assert float(row["composite"]) < 0
    assert best
    assert "; equal exposure +" in best.reason


def titles(figure: dict) -> list[str]:
    return [note["text"] for note in figure["layout"]["annotations"]]


def test_it_is_in_the_charts(reader: RunReader) -> None:
    arguments = reader.metrics(), reader.descriptions, None, reader.missing(), XAxis(), Look(), 40
    shown = titles(quality_figure(*arguments))
    assert "equal exposure, % vs base model (higher is better)" in shown
    assert "lightness, %: of the whole picture" in shown
    try:
        language.use("zh-Hant")
        assert [title for title in titles(quality_figure(*arguments)) if title.startswith("equal exposure, %")]
    finally:
        language.use("en")
    one = Run("a", reader.train(), reader.validation(), reader.metrics(), XAxis(), reader.descriptions)
    other = Run("b", reader.train(), reader.validation(), reader.metrics()[["step"]], XAxis(), OLDER_METRICS)  # pyright: ignore
    assert "equal exposure, % (higher is better)" in titles(overlay_figure([one, other], Look()))


def test_it_is_in_the_tables(reader: RunReader) -> None:
    best = reader.best()
    assert best
    shown = table(reader)
    value = shown.lines[8].values[[column.title for column in shown.columns].index("Equal exposure")]
    assert value
    assert re.fullmatch(r"\+0\.\d \[[+−]\d\.\d, \+\d\.\d\]", value.words)
    page = best_table_html(best, reader.base_metrics(), reader.descriptions)
    assert "<th>equal exposure, %</th>" in page
    evaluated = reader.result(best.step)
    pair = [Contestant(name, reader.known_settings, reader.descriptions, best, 40, {}, evaluated) for name in "ab"]
    assert "equal exposure" in score_table(pair, "a")


def test_it_stands_under_the_pictures_in_the_report_and_at_the_terminal(reader: RunReader) -> None:
    data = wall_data("new", reader.run_id, descriptions=reader.descriptions)
    assert data["metrics"][2] == ["exposure", "equal exposure", -1]
    assert "equal exposure, % vs base model" in report.render(reader)
    row = read_rows(reader.run.metrics_csv)[1]
    assert re.search(r"exposure \d\.\d \(\+\d\.\d, higher is better\)", describe_result(row, reader.descriptions))


def test_a_run_that_describes_nothing_is_shown_as_before(reader: RunReader) -> None:
    described = reader.run.metric_descriptions.rename(reader.run.metric_descriptions.with_suffix(".away"))
    try:
        older = RunReader(reader.run, reader.run_id)
        assert older.descriptions == OLDER_METRICS
        figure = quality_figure(older.metrics(), older.descriptions, None, {}, XAxis(), Look(), 40)
        assert "CLIP text score vs base model (higher is better)" in titles(figure)
        assert not [title for title in titles(figure) if "exposure" in title]
    finally:
        described.rename(reader.run.metric_descriptions)


def test_dashboard_evaluator_and_shared_name_no_metric() -> None:
    names = "|".join(column.name for metric in task_metrics.all_metrics().values() for column in metric.columns)
    files = [path for room in ("dashboard", "evaluator", "shared") for path in (ROOT / room).rglob("*.*")]
    read = [path for path in files if path.suffix in (".py", ".js", ".html", ".css")]
    assert len(read) > 100
    translations = (ROOT / "dashboard" / "text").glob("zh_*/*.py")
    allowed = {ROOT / "shared" / "run_folder" / "older_metrics.py", *translations}
    naming = {path for path in read if re.search(rf"\b({names})\b", path.read_text(encoding="utf-8"))}
    assert naming - allowed == set()
