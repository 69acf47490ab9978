from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from dashboard.data import notes
from dashboard.data.notes import MAX_CHARACTERS, NoteConflictError
from dashboard.server.posts.run_notes import run_note_routes
from examples.fake_run.run import FakeRun
from shared.errors import RunFolderError
from shared.run_folder.notes import Notes, read_notes
from tests.dashboard.test_pages import VIEWS, open_page, page

__all__ = ["page"]


def test_stars_and_notes_are_kept_by_step(finished: FakeRun) -> None:
    run = finished.run
    for step, starred in ((40, True), (40, True), (80, True), (80, False)):
        notes.star(run, step, starred)
    notes.note(run, 40, "  good folds ", "")
    notes.note(run, 80, "x", "")
    notes.note(run, 80, " ", "x")
    assert (read_notes(run).starred, read_notes(run).texts) == ((40,), {40: "good folds"})


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "99.0", "starred": [80]}', '{"texts": {"x": 1}}', ""])
def test_a_file_that_cannot_be_read_is_never_written_over(finished: FakeRun, text: str) -> None:
    finished.run.notes.write_text(text)
    for write in (lambda: notes.star(finished.run, 40, True), lambda: notes.note(finished.run, 40, "x", "")):
        with pytest.raises(RunFolderError):
            write()
    assert finished.run.notes.read_text() == text


def test_what_a_later_version_added_stays_in_the_file(finished: FakeRun) -> None:
    finished.run.notes.write_text(json.dumps({"schema": "1.7", "texts": {"80": "a"}, "colors": ["keep"]}))
    notes.star(finished.run, 40, True)
    assert json.loads(finished.run.notes.read_text()) | {"starred": []} == {
        "schema": "1.7",
        "texts": {"80": "a"},
        "colors": ["keep"],
        "starred": [],
        "tags": [],
        "about": "",
    }


def test_a_note_that_changed_since_it_was_seen_is_not_written_over(finished: FakeRun) -> None:
    notes.note(finished.run, 80, "theirs", "")
    with pytest.raises(NoteConflictError):
        notes.note(finished.run, 80, "mine", "")
    notes.note(finished.run, 80, "theirs", "")  # the same text is no conflict
    notes.note(finished.run, 120, "another snapshot", "")
    notes.note(finished.run, 80, "mine", "theirs")
    assert read_notes(finished.run).texts == {80: "mine", 120: "another snapshot"}


def test_tags_and_note_of_a_run_are_written_beside_those_of_its_snapshots(finished: FakeRun) -> None:
    notes.note(finished.run, 80, "a", "")
    notes.describe(finished.run, [" #red dress ", "", "look", "look"], "  ships  ", ((), ""))
    found = read_notes(finished.run)
    assert (found.tags, found.about, found.texts) == (("red-dress", "look"), "ships", {80: "a"})
    with pytest.raises(NoteConflictError):
        notes.describe(finished.run, ["mine"], "", ((), ""))
    assert read_notes(finished.run) == found
    notes.describe(finished.run, ["mine"], "", (found.tags, found.about))
    assert read_notes(finished.run).tags == ("mine",)


def test_what_the_page_of_runs_is_told_of_a_note_that_was_not_saved(
    finished: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_RUNS", str(finished.run.path.parent))
    visitor = TestClient(Starlette(routes=run_note_routes()))
    told = {"tags": ["a"], "note": "mine", "seen_tags": [], "seen_note": ""}
    url = "/notes/finished.json"
    assert visitor.post(url, json=told).json() == {}
    conflict = visitor.post(url, json={**told, "note": "other"})
    assert conflict.status_code == 409
    assert conflict.json().items() >= {"tags": ["a"], "note": "mine"}.items()
    assert "another tab has changed it" in conflict.json()["error"]
    assert visitor.post(url, json={**told, "note": "other", "seen_tags": ["a"], "seen_note": "mine"}).json() == {}
    finished.run.notes.write_text("{")
    refused = visitor.post(url, json=told)
    assert "is not a record" in refused.json()["error"]
    assert refused.json()["hint"]
    assert finished.run.notes.read_text() == "{"
    assert visitor.post("/notes/absent.json", json=told).status_code == 404


def test_notes_that_are_written_at_once_are_all_kept(finished: FakeRun) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda step: notes.note(finished.run, step, f"note {step}", ""), range(32)))
    assert len(read_notes(finished.run).texts) == 32


def save(page: AppTest, text: str) -> None:
    next(area for area in page.text_area if area.label == "Note").set_value(text)
    next(button for button in page.button if button.label.startswith("Save ")).click().run()


def test_two_tabs_show_both_texts_before_one_replaces_the_other(page: AppTest, finished: FakeRun) -> None:
    page.query_params["step"] = "80"
    open_page(page, "snapshots")
    other = AppTest.from_file(str(VIEWS.parent / "shell.py"), default_timeout=60)
    other.query_params["step"] = "80"
    open_page(other, "snapshots")
    save(other, "theirs")
    save(page, "mine")
    assert read_notes(finished.run).texts == {80: "theirs"}
    assert "was not saved" in page.error[0].value
    assert "theirs" in [text.value for text in page.text]
    assert next(area for area in page.text_area if area.label == "Note").value == "mine"
    save(page, "mine and theirs")
    assert read_notes(finished.run).texts == {80: "mine and theirs"}
    assert not page.error
    other.run()
    assert "mine and theirs" in [text.value for text in other.text]
    next(button for button in other.button if button.label == "Take this text over").click().run()
    assert next(area for area in other.text_area if area.label == "Note").value == "mine and theirs"
    assert not other.warning


def test_a_page_whose_notes_cannot_be_read_says_so_and_offers_no_box(page: AppTest, finished: FakeRun) -> None:
    finished.run.notes.write_text('{"schema": "99.0"}')
    open_page(page, "snapshots")
    assert "has schema 99.0" in page.error[0].value
    assert "upgrade Darkroom" in page.error[0].value
    assert "Note" not in [area.label for area in page.text_area]


def test_a_huge_note_is_cut_on_screen_and_kept_in_the_file(page: AppTest, finished: FakeRun) -> None:
    text = "long " * 1_200_000
    finished.run.notes.write_text(Notes(texts={80: text}).model_dump_json(by_alias=True))
    page.query_params["step"] = "80"
    open_page(page, "snapshots")
    assert max(len(str(element.proto)) for element in page.text) < 2 * MAX_CHARACTERS
    assert "6,000,000 characters" in " ".join(caption.value for caption in page.caption)
    next(toggle for toggle in page.toggle if toggle.label == "Star").set_value(True).run()
    assert read_notes(finished.run).texts == {80: text}
    assert read_notes(finished.run).starred == (80,)
