"""Charts by URL."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard.data.reader import RunReader
from dashboard.server.figures import figure_routes, figure_url, looked_at
from dashboard.server.files import PLOTLY_FILE, packed_plotly, routes
from dashboard.story.curves import look_of, overlay_chart, system_chart
from examples.fake_run.run import FakeRun
from tests.dashboard.test_pages import empty

NAMES = [f"{kind}-{part}" for kind in ("training", "quality") for part in ("first", "further")]


@pytest.fixture
def visitor(finished: FakeRun, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("DARKROOM_RUNS", str(finished.run.path.parent))
    return TestClient(Starlette(routes=figure_routes()))


@pytest.mark.parametrize("name", [*NAMES, "compare"])
def test_a_chart_that_has_not_changed_is_not_sent_again(visitor: TestClient, name: str) -> None:
    first = visitor.get(f"/figures/finished/{name}.json")
    assert first.json()["figure"]["data"]
    assert "finished" in first.json()["label"]
    again = visitor.get(f"/figures/finished/{name}.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_row_of_training_changes_the_chart_of_training_and_no_other(visitor: TestClient, finished: FakeRun) -> None:
    tags = {name: visitor.get(f"/figures/finished/{name}.json").headers["ETag"] for name in NAMES}
    lines = finished.run.train_csv.read_text().splitlines()
    finished.run.train_csv.write_text("\n".join(lines[:-1]) + "\n")
    changed = {name for name in NAMES if visitor.get(f"/figures/finished/{name}.json").headers["ETag"] != tags[name]}
    assert changed == {"training-first", "training-further"}


def test_the_place_of_a_figure_is_as_high_as_the_figure(visitor: TestClient, finished: FakeRun) -> None:
    reader = RunReader(finished.run, finished.record.run_id)
    shown = {
        "compare": overlay_chart([reader], look_of(None, None, (), reader)),
        "system-1": system_chart(reader, 1, "relative"),
    }
    for name, chart in shown.items():
        figure = visitor.get(f"/figures/finished/{name}.json").json()["figure"]
        assert chart.height == figure["layout"]["height"] > 0
    assert system_chart(reader, 2, "relative").height == 0


def test_a_look_is_asked_for_as_the_address_says_it(visitor: TestClient, finished: FakeRun) -> None:
    reader = RunReader(finished.run, finished.record.run_id)
    look = look_of("epoch", 100, ["log-y", "anchors"], reader)
    url = figure_url("finished", "training-first", **looked_at(look))
    layout = visitor.get(f"/{url}").json()["figure"]["layout"]
    assert layout["xaxis"]["title"]["text"] == "epoch"
    assert layout["yaxis"]["type"] == "log"
    assert looked_at(look) == {"x": "epoch", "smoothing": "100", "scales": "log-y,anchors"}


def test_a_zoomed_chart_holds_the_points_of_its_window(visitor: TestClient) -> None:
    whole, part = (
        visitor.get(f"/figures/finished/training-first.json{query}").json()["figure"]["data"][0]["x"]["bdata"]
        for query in ("", "?low=10&high=20")
    )
    assert len(part) < len(whole) / 4


@pytest.mark.parametrize(
    "query", ["x=moon&smoothing=-3&scales=none", "low=nan&high=1", "low=9&high=1", "smoothing=inf"]
)
def test_what_nobody_can_mean_is_the_usual_chart(visitor: TestClient, query: str) -> None:
    usual = visitor.get("/figures/finished/training-first.json").headers["ETag"]
    assert visitor.get(f"/figures/finished/training-first.json?{query}").headers["ETag"] == usual


@pytest.mark.parametrize("address", ["absent/training-first", "finished/loss", "finished/quality-all", "../compare"])
def test_a_chart_that_is_not_there_is_said_in_words(visitor: TestClient, address: str) -> None:
    answer = visitor.get(f"/figures/{address}.json")
    assert answer.status_code == 404


def test_a_chart_that_fails_says_so_and_the_others_go_on(
    visitor: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr("dashboard.story.curves.training_figure", fail)
    failed, other = (visitor.get(f"/figures/finished/{name}-first.json") for name in ("training", "quality"))
    assert (failed.status_code, other.status_code) == (500, 200)
    assert "a defect of ours" in failed.json()["error"]
    assert "Traceback" in capsys.readouterr().err


def test_what_is_not_there_yet_is_awaited_in_words(visitor: TestClient, finished: FakeRun) -> None:
    empty(finished.run)
    for status in finished.run.processes.glob("*.json"):
        status.unlink()
    told = {name: visitor.get(f"/figures/finished/{name}.json").json() for name in NAMES}
    assert told["training-first"]["absent"] == {"text": "Waiting for the first step …", "awaited": True}
    assert told["quality-first"]["absent"]["text"] == "Waiting for the first evaluation …"
    assert [one["absent"] for name, one in told.items() if name.endswith("further")] == [None, None]
    assert all(one["again"] for one in told.values()), "it is asked for again, whatever the versions say"


def test_a_machine_has_a_chart_where_it_recorded_itself(visitor: TestClient) -> None:
    over = {
        kind: visitor.get(f"/figures/finished/system-1.json?over={kind}").json()["figure"]["layout"]["xaxis"]["title"]
        for kind in ("relative", "step", "nonsense")
    }
    assert over["relative"] == over["nonsense"] != over["step"]
    assert visitor.get("/figures/finished/system-2.json").json()["figure"] is None


def test_a_finished_run_has_no_chart_that_asks_by_the_clock(visitor: TestClient) -> None:
    names = [*NAMES, "compare", "system-1"]
    assert [visitor.get(f"/figures/finished/{name}.json").json()["again"] for name in names] == [None] * len(names)


def test_plotly_is_packed_once_for_all_visitors(tmp_path: Path) -> None:
    visitor = TestClient(Starlette(routes=routes(tmp_path)))
    answer = visitor.get("/plotly.min.js", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.content == PLOTLY_FILE.read_bytes()
    assert packed_plotly() is packed_plotly()
    plain = visitor.get("/plotly.min.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
