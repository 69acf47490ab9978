from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

from dashboard import url_state
from dashboard.data import notes
from dashboard.data.reader import RunReader
from dashboard.data.runs import open_reader
from dashboard.panels.evaluate_now import ask_to_evaluate
from dashboard.panels.pictures import pictures_data
from examples.fake_run.evaluations import publish_drawings
from examples.fake_run.run import FakeRun
from examples.fake_run.verdict import rebuild_tables
from shared.run_folder import requests
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.run_dir import RunDir
from shared.sweeps.record import SweepRecord
from shared.sweeps.sweep_dir import SweepDir
from tests.dashboard.test_tables_shown import leave_out

VIEWS = Path(__file__).resolve().parents[2] / "dashboard" / "views"
PAGES = ["runs", "overview", "samples", "vote", "snapshots", "compare", "data", "logs", "settings", "system"]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("DARKROOM_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("DARKROOM_RUN", raising=False)
    return AppTest.from_file(str(VIEWS.parent / "shell.py"), default_timeout=60)


@pytest.fixture
def second(finished: FakeRun) -> RunDir:
    """Another run with other settings, evaluated alike."""
    path = finished.run.path.with_name("second")
    shutil.copytree(finished.run.path, path)
    settings = path / "config.toml"
    settings.write_text(settings.read_text().replace("learning_rate = 0.0001", "learning_rate = 0.002"))
    return RunDir(path)


@pytest.fixture
def training(finished: FakeRun) -> Iterator[RunDir]:
    """The finished run with a trainer at work in it again: this process."""
    with hold_role(finished.run, "trainer") as trainer:
        trainer.update("training", step=10)
        yield finished.run


def open_page(page: AppTest, name: str) -> AppTest:
    page.run()
    if name != "overview":
        page.switch_page(str(VIEWS / f"{name}.py")).run()
    return page


def bar_of(page: AppTest) -> dict[str, Any]:
    """What Python tells the bar; everything else the browser asks for itself."""
    component = next(
        element.proto for element in page.get("bidi_component") if element.proto.component_name == "darkroom_bar"
    )
    return json.loads(component.json)


def components(page: AppTest) -> list[str]:
    """Those that somebody sees."""
    names = [element.proto.component_name for element in page.get("bidi_component")]
    return [name for name in names if name != "darkroom_watch"]


def text_of(page: AppTest) -> str:
    return " ".join(element.proto.body for element in page.get("html"))


@pytest.mark.parametrize(
    ("name", "language"), [*((name, "en") for name in PAGES), ("overview", "zh-Hans"), ("snapshots", "zh-Hant")]
)
@pytest.mark.usefixtures("finished", "second")
def test_every_page_opens(page: AppTest, name: str, language: str) -> None:
    page.query_params["lang"] = language
    page.query_params["run"] = "finished"
    open_page(page, name)
    assert not page.exception
    bar = bar_of(page)
    assert (bar["page"], bar["run"], bar["lang"]) == (name, "finished", language)
    assert bar["pages"][1]["title"] == {"en": "Overview", "zh-Hans": "总览", "zh-Hant": "總覽"}[language]


@pytest.mark.parametrize("name", PAGES)
def test_every_page_of_a_run_that_has_just_begun_says_what_it_waits_for(
    page: AppTest, finished: FakeRun, name: str
) -> None:
    empty(finished.run)
    shutil.rmtree(finished.run.processes)
    open_page(page, name)
    assert not page.exception
    waits = {
        "samples": ["Waiting for the first pictures"],
        "snapshots": ["Waiting for the first snapshot …"],
        "compare": ["There is only one run. Start a second one to compare them."],
        "logs": ["No program has written a log yet."],
    }
    assert [info.value.split(",")[0] for info in page.info] == waits.get(name, [])


@pytest.mark.parametrize("name", ["samples", "snapshots"])
def test_where_nobody_is_at_work_nothing_is_awaited(page: AppTest, finished: FakeRun, name: str) -> None:
    empty(finished.run)
    open_page(page, name)
    told = {info.value.split(":")[0] for info in page.info}
    assert told <= {"Nothing to show", "Nothing is evaluated"}
    assert told


def test_metrics_without_a_number_for_the_same_reason_are_told_in_one_line(page: AppTest, finished: FakeRun) -> None:
    result = finished.run.read_result(40)
    assert result
    blank = {"visual_loss": "no network", "clip_t": "one caption", "fashion_clip_loss": "no network"}
    without = [
        sample.model_copy(update={"metrics": sample.metrics | dict.fromkeys(blank)}) for sample in result.samples
    ]
    changed = result.model_copy(update={"samples": tuple(without), "missing": blank})
    changed.write(finished.run.evaluation(40) / "result.json")
    rebuild_tables(finished)
    assert not page.run().exception
    data = pictures_data(open_reader("finished"), {})
    assert data
    assert [remark for remark in data["remarks"] if "at step 40:" in remark] == [
        "No number for look, garment at step 40: no network",
        "No number for following the prompt at step 40: one caption",
    ]


def empty(run: RunDir) -> None:
    """Nothing was trained or evaluated yet."""
    for path in (run.train_csv, run.metrics_csv, run.best):
        path.unlink()
    for folder in (run.evaluations, run.snapshots, run.logs):
        folder.rename(run.path / f"set-aside-{folder.name}")
        folder.mkdir()


def test_the_overview_has_the_bar_the_first_screen_and_two_charts(page: AppTest, finished: FakeRun) -> None:
    page.run()
    names = components(page)
    assert names == ["darkroom_bar", "darkroom_screen", "darkroom_chart", "darkroom_chart"]
    page.query_params["curves"] = "open"
    page.run()
    assert len(components(page)) == 6, "all curves are shown"
    assert [entry["url"] for entry in bar_of(page)["pages"][1:3]] == [".?run=finished", "pictures?run=finished"]


def test_several_runs_open_with_all_of_them_and_one_with_its_first_screen(page: AppTest, second: RunDir) -> None:
    page.run()
    assert not page.exception
    assert bar_of(page)["page"] == "runs"
    shutil.rmtree(second.path)
    alone = AppTest.from_file(str(VIEWS.parent / "shell.py"), default_timeout=60).run()
    assert bar_of(alone)["page"] == "overview"


@pytest.mark.usefixtures("second")
def test_who_starts_the_dashboard_for_a_run_sees_that_run(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_RUN", "second")
    page.run()
    assert (bar_of(page)["page"], bar_of(page)["run"]) == ("overview", "second")


def test_stars_and_notes_are_written_to_the_run(page: AppTest, finished: FakeRun) -> None:
    page.query_params["step"] = "80"
    open_page(page, "snapshots")
    run_id = finished.record.run_id
    page.toggle(key=f"star_{run_id}_80").set_value(True).run()
    page.text_area(key=f"note_{run_id}_80").set_value("soft edges")
    next(button for button in page.button if button.label == "Save note").click().run()
    found = notes.read_notes(finished.run)
    assert (found.starred, found.texts) == ((80,), {80: "soft edges"})


@pytest.mark.parametrize("left_out", [False, True])
def test_a_snapshot_that_waits_or_was_left_out_is_evaluated_next_and_asked_for_once(
    page: AppTest, finished: FakeRun, left_out: bool
) -> None:
    if left_out:
        leave_out(finished, 80, "evaluation.every is 2")
    else:
        shutil.rmtree(finished.run.evaluation(80))
    page.query_params["step"] = "80"
    open_page(page, "snapshots")
    button = f"evaluate_{finished.record.run_id}_80"
    page.button(key=button).click().run()
    assert page.button(key=button).disabled
    requests.submit_evaluation(finished.run, 80, "another tab")
    (request,) = requests.open_requests(finished.run, "evaluate")
    assert (request.step, request.prompts, request.by) == (80, (), "dashboard")
    assert "requested" in text_of(page)
    assert "No evaluator is running" in page.warning[0].value


def test_a_snapshot_is_drawn_with_prompts_of_ones_own(page: AppTest, finished: FakeRun) -> None:
    page.query_params["step"] = "80"
    open_page(page, "snapshots")
    assert f"evaluate_{finished.record.run_id}_80" not in [button.key for button in page.button]
    for _ in range(2):
        page.text_area(key=f"prompts_{finished.record.run_id}_80").set_value("a red <coat>\n\n a hat ")
        drawing_button(page).click().run()
    (request,) = requests.requests(finished.run, "evaluate")
    assert (request.step, request.prompts) == (80, ("a red <coat>", "a hat"))
    requests.answer(finished.run, request, "seen", 80)
    page.run()
    assert '<li class="reached">seen' in text_of(page)
    publish_drawings(finished, request)
    page.run()
    assert '<li class="reached">drawn' in text_of(page)
    assert "a red &lt;coat&gt;<span>seed" in text_of(page)
    assert text_of(page).count(f"requested/{request.id}/step-00000080/images/") == 4
    page.query_params["step"] = "120"
    page.run()
    assert page.text_area(key=f"prompts_{finished.record.run_id}_120").value == "a red <coat>\na hat"


def test_of_an_edit_model_a_prompt_of_ones_own_carries_the_sources_that_are_chosen(
    page: AppTest, finished: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {"coats/3": "turn it blue", "coats/4": "turn it green"}
    monkeypatch.setattr(RunReader, "prompts_with_sources", lambda self: sources)
    page.query_params["step"] = "80"
    open_page(page, "snapshots")
    key = f"prompts_{finished.record.run_id}_80"
    page.text_area(key=key).set_value("turn it red\nturn it pink --ci coats/3")
    page.selectbox(key=f"{key}_source").select("coats/4")
    drawing_button(page).click().run()
    (request,) = requests.requests(finished.run, "evaluate")
    assert request.prompts == ("turn it red --ci coats/4", "turn it pink --ci coats/3")


def test_prompts_that_cannot_be_drawn_are_refused_in_words(page: AppTest, finished: FakeRun) -> None:
    page.query_params["step"] = "80"
    open_page(page, "snapshots")
    drawing_button(page).click().run()
    assert page.error[0].value == "Write a prompt first, one per line."
    page.text_area(key=f"prompts_{finished.record.run_id}_80").set_value("a hat\n" * 65)
    drawing_button(page).click().run()
    assert page.error[0].value == "65 prompts are too many: at most 64 at once."
    assert requests.requests(finished.run, "evaluate") == []


def drawing_button(page: AppTest) -> Button:
    return next(button for button in page.button if button.label == "Draw with these prompts")


def test_an_address_nobody_can_mean_opens_the_usual_page(page: AppTest, finished: FakeRun) -> None:
    page.query_params.update({"x": "mood", "smoothing": "many", "scales": "log-x,foo", "step": "-1"})
    page.run()
    assert not page.exception
    assert bar_of(page)["run"] == "finished"
    assert page.session_state["x"] == "step"
    assert page.session_state["scales"] == ["log-x"]


def test_an_empty_runs_folder_says_how_to_begin(page: AppTest) -> None:
    page.run()
    assert "python run.py demo" in page.info[0].value
    assert not page.get("bidi_component")


def test_a_folder_of_sweeps_without_other_runs_shows_what_they_found(page: AppTest, tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "runs" / "ranks")
    sweep.path.mkdir(parents=True)
    SweepRecord(name="ranks", state="finished", num_trials=2, space={"lora.rank": [4, 8]}).write(sweep.record)
    page.run()
    assert not page.exception
    assert len(page.get("bidi_component")) == 1


@pytest.mark.parametrize("lost", ["lost", "../etc"])
def test_the_page_of_a_run_that_is_gone_says_so_and_shows_no_other(page: AppTest, finished: FakeRun, lost: str) -> None:
    page.query_params["run"] = lost
    page.run()
    assert f"The run `{lost}` no longer exists" in page.warning[0].value
    assert not page.get("bidi_component")
    assert [button.label for button in page.button] == []
    assert page.selectbox(key="another_run").value is None
    assert page.query_params["run"] == lost
    page.run()
    assert f"The run `{lost}` no longer exists" in page.warning[0].value
    page.selectbox(key="another_run").select("finished").run()
    assert not page.warning
    assert page.query_params["run"] == "finished"
    assert bar_of(page)["run"] == "finished"
    page.run()
    assert bar_of(page)["run"] == "finished"


def test_a_run_that_is_renamed_while_it_is_shown_is_missed_and_the_other_not_acted_on(
    page: AppTest, training: RunDir, second: RunDir
) -> None:
    page.query_params["run"] = "second"
    page.run()
    second.path.rename(second.path.with_name("renamed"))
    page.run()
    assert "The run `second` no longer exists" in page.warning[0].value
    assert page.selectbox(key="another_run").options == ["finished", "renamed"]
    assert not page.button
    (second.path.with_name("renamed")).rename(second.path)
    page.run()
    assert bar_of(page)["run"] == "second", "it came back"


@pytest.mark.parametrize("name", ["second", "gone"])
def test_the_address_says_which_run_is_shown_where_the_choice_was_dropped(
    page: AppTest, second: RunDir, name: str
) -> None:
    page.query_params["run"] = name
    page.session_state[url_state.WRITTEN] = {"run": name}
    page.run()
    assert [warning.value for warning in page.warning if "no longer exists" in warning.value] == (
        [] if name == "second" else ["The run `gone` no longer exists: it was removed or renamed."]
    )
    assert page.query_params["run"] == name


def test_a_run_that_took_anothers_name_is_shown_only_when_asked_for(page: AppTest, training: RunDir) -> None:
    page.run()
    assert bar_of(page)["runId"]
    record = training.read_record()
    reader = open_reader("finished")
    record.model_copy(update={"run_id": "another"}).write(training.record)
    ask_to_evaluate(reader, 40)
    assert requests.requests(training, "evaluate") == []
    page.run()
    assert "Another run has the name `finished` now" in page.warning[0].value
    assert [button.label for button in page.button] == ["Show the new run"]
    page.button[0].click().run()
    assert not page.warning
    assert bar_of(page)["runId"] == "another"


def test_a_damaged_snapshot_is_not_handed_out(page: AppTest, finished: FakeRun) -> None:
    page.query_params["step"] = "80"
    open_page(page, "snapshots")
    assert "Download for diffusers" in text_of(page)
    adapter = next(finished.run.snapshot(80).glob("*.safetensors"))
    adapter.write_bytes(adapter.read_bytes()[:-1])
    page.run()
    assert "Download for" not in text_of(page)
    assert "This snapshot is damaged" in page.warning[0].value


def test_the_page_of_a_damaged_run_is_the_bar_alone(page: AppTest, finished: FakeRun) -> None:
    finished.run.record.write_text("{")
    page.run()
    assert not page.exception
    assert bar_of(page)["run"] == "finished", "it asks for the first screen, and shows why there is none"


def test_the_run_named_by_the_supervisor_is_shown_first(
    page: AppTest, second: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_RUN", "finished")
    page.run()
    assert bar_of(page)["run"] == "finished"
