from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.files import find_picture, picture_url
from dashboard.samples import Column, shortcomings, wall
from examples.fake_run import FakeRun
from shared import control
from shared.rundir import RunDir
from shared.status import hold_role

PAGE = Path(__file__).resolve().parents[2] / "dashboard" / "views" / "live.py"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("DARKROOM_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("DARKROOM_RUN", raising=False)
    return AppTest.from_file(str(PAGE), default_timeout=60)


@pytest.fixture
def training(finished: FakeRun) -> Iterator[RunDir]:
    """The finished run with a trainer at work in it again: this process."""
    with hold_role(finished.run, "trainer") as trainer:
        trainer.update("training", step=10)
        yield finished.run


def text_of(page: AppTest) -> str:
    return " ".join(element.proto.body for element in page.get("html"))


def test_the_page_of_a_finished_run_shows_everything_and_offers_no_stop(page: AppTest, finished: FakeRun) -> None:
    page.run()
    assert not page.exception
    assert page.selectbox(key="run").value == "finished"
    assert "200 / 200" in text_of(page)
    assert page.button(key="stop_training").disabled
    assert len(page.get("bidi_component")) == 3
    assert any("could not be judged" in warning.value for warning in page.warning)
    assert page.code[0].value.endswith(".safetensors")


def test_pressing_stop_twice_writes_one_request(page: AppTest, training: RunDir) -> None:
    before = {path.name for path in training.control.iterdir()}
    page.run()
    page.button(key="stop_training").click().run()
    assert {path.name for path in training.control.iterdir()} == before
    page.button(key="confirm_stop").click().run()
    assert page.button(key="stop_training").disabled
    control.submit_stop(training, "another tab")
    (request,) = control.open_requests(training)
    assert request.by == "dashboard"
    assert {path.name for path in training.control.iterdir()} == before | {f"{request.id}.json"}
    assert "requested" in text_of(page)


def test_keep_training_takes_the_question_back(page: AppTest, training: RunDir) -> None:
    page.run()
    page.button(key="stop_training").click().run()
    page.button(key="cancel_stop").click().run()
    assert "confirm_stop" not in [button.key for button in page.button]
    assert control.open_requests(training) == []


def test_an_empty_runs_folder_says_how_to_begin(page: AppTest, tmp_path: Path) -> None:
    page.run()
    assert "python run.py demo" in page.info[0].value


def test_a_run_that_has_just_begun_says_what_it_waits_for(page: AppTest, finished: FakeRun) -> None:
    for path in (finished.run.train_csv, finished.run.metrics_csv, finished.run.best):
        path.unlink()
    finished.run.evaluations.rename(finished.run.path / "set-aside")
    page.run()
    assert not page.exception
    assert [info.value.split(",")[0] for info in page.info] == [
        "Waiting for the first step …",
        "Waiting for the first evaluation …",
        "Waiting for the first pictures",
    ]


def test_a_damaged_run_is_named_once(page: AppTest, finished: FakeRun) -> None:
    finished.run.record.write_text("{")
    page.run()
    assert not page.exception
    assert [error.value.partition("\n")[0] for error in page.error] == [
        f"{finished.run.record} is not a record of Darkroom"
    ]


def test_the_run_named_by_the_supervisor_is_shown_first(
    page: AppTest, finished: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = finished.run.path.with_name("newer")
    newer.mkdir()
    (newer / "run.json").write_bytes(finished.run.record.read_bytes())
    (newer / "config.toml").write_bytes(finished.run.config.read_bytes())
    monkeypatch.setenv("DARKROOM_RUN", "finished")
    page.run()
    assert page.selectbox(key="run").value == "finished"
    assert page.selectbox(key="run").options == ["finished", "newer"]


def test_the_wall_has_a_card_per_prompt_a_row_per_seed_and_blanks_where_nothing_is(finished: FakeRun) -> None:
    base, later = finished.run.read_result(0), finished.run.read_result(40)
    columns = [Column("base", base), Column("step 40", later), Column("best", None)]
    shown = wall(columns, "id", lambda path, version: f"{path}?{version}")
    assert shown["columns"] == ["reference", "base", "step 40", "best"]
    assert len(shown["cards"]) == 8
    card = shown["cards"][0]
    assert card["reference"]["src"] == "references/kimono/crimson-0.png?id"
    assert [row["seed"] for row in card["rows"]] == [1234, 1235]
    first, second, missing = card["rows"][0]["cells"]
    assert base
    assert first["src"] == f"evaluations/step-00000000/images/00-1234.png?{base.created}"
    assert second["alt"] == "step 40, seed 1234: a crimson tartan kimono on a white background"
    assert missing is None


def test_what_is_missing_on_the_wall_is_said_with_its_reason(finished: FakeRun) -> None:
    failed, blank = (finished.run.read_result(step) for step in (160, 80))
    lines = shortcomings([Column("a", failed), Column("b", blank), Column("c", blank)])
    assert lines == [
        "Step 160 could not be judged: the adapter holds a value that is not finite",
        "Step 80 has no color loss: no garment found in 3 of 16 pictures",
    ]


def test_only_pictures_inside_the_runs_folder_are_found(finished: FakeRun, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    picture = "finished/references/kimono/crimson-0.png"
    outside = tmp_path / "outside.png"
    outside.write_bytes((runs / picture).read_bytes())
    (runs / "finished" / "link.png").symlink_to(outside)
    (runs / "finished" / "folder.png").mkdir()
    assert find_picture(runs, picture) == runs / picture
    refused = [
        "finished/run.json",
        "../outside.png",
        "finished/link.png",
        "finished/folder.png",
        str(outside),
        "a\0.png",
        "",
    ]
    assert [find_picture(runs, path) for path in refused] == [None] * len(refused)


def test_a_picture_address_survives_any_prompt_id() -> None:
    assert picture_url("run", "id", "references/a b/ü?#.png") == "pictures/run/references/a%20b/%C3%BC%3F%23.png?v=id"
