from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from dashboard.data import alert_texts
from dashboard.data.reader import RunReader
from dashboard.report import render
from dashboard.server import thumbnails
from dashboard.server.files import routes
from dashboard.server.screen import screen_routes
from dashboard.story.drawn import drawn_step
from dashboard.text.verbatim import verbatim
from examples.fake_run.run import FakeRun
from shared.run_folder.heartbeat import read_status
from tests.dashboard.hostile_run import MARKUP, SECRET, hostile_files, hostile_texts, huge_picture
from tests.dashboard.test_pages import PAGES, open_page, page

__all__ = ["page"]

MARKDOWN = ("markdown", "caption", "error", "warning", "info", "success")


def everything(page: AppTest) -> str:
    """Every text that the page got, whatever element holds it."""
    return "\n".join(str(element.proto) for element in page.main) + "\n".join(map(str, page.get("html")))


@pytest.mark.parametrize("name", PAGES)
def test_texts_from_files_are_texts_on_every_page(page: AppTest, finished: FakeRun, name: str) -> None:
    hostile_texts(finished)
    page.query_params.update({"run": "finished", "step": "80"})
    open_page(page, name)
    assert not page.exception
    for kind in MARKDOWN:
        for element in page.get(kind):
            outside_spans = re.sub(r"(`+).*?(?<!`)\1(?!`)", "", str(element.proto.body or element.value))
            assert "tracker.example" not in outside_spans, (kind, element.value)
    labels = [
        *(button.label for button in page.button),
        *(option for one in page.button_group for option in one.options),
    ]
    assert not [label for label in labels if "](" in re.sub(r"(`+).*?(?<!`)\1(?!`)", "", label)]
    for element in page.get("html"):
        assert not re.search(r"<img[^>]*tracker\.example", element.proto.body), "all of it is escaped"


@pytest.mark.parametrize("name", PAGES)
def test_no_page_trips_over_files_that_are_damaged_or_lead_elsewhere(
    page: AppTest, finished: FakeRun, tmp_path: Path, name: str
) -> None:
    hostile_files(finished, tmp_path / "outside")
    page.query_params.update({"run": "finished", "step": "80"})
    open_page(page, name)
    assert not page.exception
    shown = everything(page)
    assert SECRET not in shown
    assert "Traceback" not in shown
    assert "cannot be shown" not in shown, "all of this is foreseen"


def test_the_first_screen_names_every_damaged_file_and_its_cure(
    finished: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_RUNS", str(finished.run.path.parent))
    hostile_files(finished, tmp_path / "outside")
    answer = TestClient(Starlette(routes=screen_routes())).get("/screen/finished.json")
    assert answer.status_code == 200, answer.text
    assert SECRET not in answer.text
    told = [alert["text"] for alert in answer.json()["alerts"]]
    for end in (
        "processes/trainer.json is damaged: Value error, 'yesterday' is no time",
        "best.json is not a file. To cure it, move",
        "train.csv leads out of the run folder. To cure it, put the file itself at",
        "step-00000080/result.json is not a file",
    ):
        assert [text for text in told if end in text], "\n".join([end, *told])
    names = [line["name"] for line in TestClient(Starlette(routes=screen_routes())).get("/runs.json").json()]
    assert names == ["finished"], "one that is still being copied is no run"


def test_the_first_screen_of_hostile_texts_is_made(finished: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_RUNS", str(finished.run.path.parent))
    hostile_texts(finished)
    answer = TestClient(Starlette(routes=screen_routes())).get("/screen/finished.json")
    assert answer.status_code == 200, answer.text
    assert MARKUP in [alert["text"] for alert in answer.json()["alerts"]], "as it is: the page writes it as text"


def test_a_run_whose_settings_cannot_be_read_is_named_and_the_others_are_compared(
    page: AppTest, finished: FakeRun
) -> None:
    broken = finished.run.path.with_name("broken")
    shutil.copytree(finished.run.path, broken)
    (broken / "config.toml").write_text("[train]\nunknown = 1\n")
    page.query_params.update({"run": "finished", "compare": "broken"})
    open_page(page, "compare")
    assert "unknown" in page.warning[0].value
    assert not page.error
    assert [name for name in page.dataframe[0].value.columns if "finished" in name or "broken" in name] == [
        "◆ finished"
    ]


def test_a_panel_that_fails_says_so_in_its_place_and_the_terminal_has_the_reason(
    page: AppTest, finished: FakeRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr("dashboard.panels.curves.figure_url", fail)
    page.run()
    assert not page.exception
    assert [error.value for error in page.error] == [
        "This part of the page cannot be shown. The reason is in the terminal of the dashboard."
    ]
    assert len(page.get("bidi_component")) >= 2, "the other panels stay"
    page.run()
    assert [record.exc_info is not None for record in caplog.records].count(True) == 1, "once, not at every tick"


def test_a_damaged_file_is_named_until_it_is_whole_again(finished: FakeRun) -> None:
    reader, best = RunReader(finished.run, finished.record.run_id), finished.run.best.read_bytes()
    finished.run.best.write_text("{")

    def told() -> list[str]:
        alerts = alert_texts.of_run(reader, read_status(finished.run, "trainer"), now)
        return [alert_texts.sentence(alert) for alert in alerts if alert.kind == "damaged"]

    now = datetime.now(UTC)
    assert reader.best() is None
    (text,) = told()
    assert str(finished.run.best) in text
    assert "To cure it, move" in text
    finished.run.best.write_bytes(best)
    assert reader.best()
    assert told() == []


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("plain", "`plain`"),
        ("a `b` c", "``a `b` c``"),
        ("`b`", "`` `b` ``"),
        ("two\n\n# lines", "`two # lines`"),
        ("", "–"),
        (MARKUP, f"``{MARKUP}``"),
    ],
)
def test_a_text_from_a_file_is_one_code_span(text: str, span: str) -> None:
    assert verbatim(text) == span


def test_a_report_of_a_hostile_run_is_made_and_holds_no_markup_of_it(finished: FakeRun, tmp_path: Path) -> None:
    hostile_texts(finished)
    result = finished.run.evaluation(80) / "result.json"
    text = result.read_text()
    secret = tmp_path / "secret.png"
    shutil.copy(finished.run.references / "kimono" / "crimson-0.png", secret)
    image = re.search(r'"image": "([^"]+)"', text)
    assert image
    result.write_text(text.replace(f'"{image[1]}"', '"../../../../../secret.png"').replace("kimono on", "<!--<script>"))
    report = render(RunReader(finished.run, finished.record.run_id))
    assert "<!--<script>" not in report
    assert "<img src=http" not in report
    assert 'secret.png": ""' in report, "a picture outside the run is not taken in"


def test_a_small_file_of_huge_dimensions_is_not_unpacked(finished: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = TestClient(Starlette(routes=routes(finished.run.path.parent)))
    for side in (9_000, 60_000):
        huge_picture(finished.run.references / "huge.png", side)
        assert visitor.get("/pictures/finished/references/huge.png?small").status_code == 413
    huge_picture(finished.run.references / "cut.png", 1_000)
    assert visitor.get("/pictures/finished/references/cut.png?small").status_code == 415
    monkeypatch.setattr(thumbnails, "SIDE", 32)
    assert (
        visitor.get("/pictures/finished/references/kimono/crimson-0.png?small").headers["content-type"] == "image/webp"
    )


def test_pipes_and_links_out_are_not_served(finished: FakeRun, tmp_path: Path) -> None:
    hostile_files(finished, tmp_path / "outside")
    (finished.run.exports / "link.zip").symlink_to(tmp_path / "outside")
    visitor = TestClient(Starlette(routes=routes(finished.run.path.parent)))
    for path in ("adapters/finished/exports/pipe.zip", "adapters/finished/exports/link.zip"):
        assert visitor.get(f"/{path}").status_code == 404
    assert drawn_step(RunReader(finished.run, finished.record.run_id), 80).samples == ()
