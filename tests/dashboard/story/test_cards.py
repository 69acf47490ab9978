"""Every run as one card."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard.data import notes
from dashboard.data.reader import RunReader
from dashboard.server.screen import screen_routes
from dashboard.story import cards as module
from dashboard.story.cards import Card, Setting, cards
from dashboard.story.screen import screen
from dashboard.text.setting_words import value_words
from examples.fake_run.run import FakeRun
from shared.run_folder.records.run_record import Imported
from shared.run_folder.run_dir import RunDir

STATES = {"live", "finished", "unproven", "empty", "failed"}


@pytest.fixture
def all_states(states: dict[str, FakeRun], monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeRun]:
    monkeypatch.setenv("DARKROOM_RUNS", str(states["finished"].run.path.parent))
    monkeypatch.delenv("DARKROOM_RUN", raising=False)
    return states


@pytest.fixture
def pair(states: dict[str, FakeRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[RunDir]:
    """Two finished runs of the test's own, with another learning rate each."""
    runs = [RunDir(tmp_path / name) for name in ("slow", "fast")]
    for run in runs:
        shutil.copytree(states["finished"].run.path, run.path)
    settings = runs[1].config.read_text(encoding="utf-8")
    runs[1].config.write_text(settings.replace("learning_rate = 0.0001", "learning_rate = 0.002"), encoding="utf-8")
    monkeypatch.setenv("DARKROOM_RUNS", str(tmp_path))
    monkeypatch.delenv("DARKROOM_RUN", raising=False)
    return runs


def told() -> dict[str, Card]:
    return {card.name: card for card in cards(datetime.now(UTC), UTC)}


def test_a_card_says_what_the_first_screen_says(all_states: dict[str, FakeRun]) -> None:
    shown = told()
    assert shown.keys() == STATES
    for name, fake in all_states.items():
        whole = screen(RunReader(fake.run, fake.record.run_id), datetime.now(UTC), UTC)
        card, best = shown[name], next((cell for cell in whole.strip if cell.best), None)
        assert (card.state[0], card.tone, card.live) == (whole.status.parts[0], whole.status.tone, whole.live), name
        if best:
            found = (card.best, card.wins, card.of, card.thumbnail, card.headline)
            assert found == (str(best.step), best.wins, best.of, best.thumbnail, whole.verdict.headline), name
        else:
            assert (card.best, card.won, card.headline) == (None, "", "")
    assert shown["finished"].won == "8 of 8 prompts"
    assert shown["empty"].thumbnail == ""


@pytest.mark.usefixtures("pair")
def test_only_settings_that_differ_between_the_runs_are_listed() -> None:
    shown = told()
    assert shown["slow"].settings == (Setting("train.learning_rate", "0.0001", "learning rate", "0.0001"),)
    assert [one.value for one in shown["fast"].settings] == ["0.002"]


def test_another_trainers_loras_are_told_by_their_trainer_and_folder_and_prompts_are_counted(
    pair: list[RunDir],
) -> None:
    imported = Imported(folder="/home/me/output/dress", trainer="SimpleTuner")
    record = pair[1].read_record()
    held_out = record.dataset.model_copy(update={"held_out": record.dataset.held_out[:2]})
    record.model_copy(update={"imported": imported, "dataset": held_out}).write(pair[1].record)
    words = {one.words: one.short for one in told()["fast"].settings}
    assert (words["trained with"], words["LoRAs of"], words["evaluation prompts"]) == ("SimpleTuner", "dress", "2")
    assert {"trained with", "LoRAs of"}.isdisjoint(one.words for one in told()["slow"].settings)


def test_a_setting_that_is_empty_is_none() -> None:
    assert value_words("data.trigger_word", "") == "none"


def test_what_was_told_is_not_read_again_until_it_is_written(
    pair: list[RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MIN_KEPT", 1)  # fewer than there are runs: all are kept nevertheless
    before = told()
    read: list[str] = []
    tell = module._tell
    monkeypatch.setattr(module, "_tell", lambda reader, *rest: (read.append(reader.name), tell(reader, *rest))[1])
    assert told() == before
    assert read == []
    pair[0].best.unlink()
    assert told()["slow"].best is None
    assert read == ["slow"]


def test_tags_and_note_of_a_run_are_told_and_a_damaged_file_says_why_not(pair: list[RunDir]) -> None:
    notes.describe(pair[0], ["for the shop"], "soft hands", ((), ""))
    assert (told()["slow"].tags, told()["slow"].note, told()["slow"].notes_trouble) == (
        ("for-the-shop",),
        "soft hands",
        "",
    )
    pair[0].notes.write_text('{"schema": "99.0"}', encoding="utf-8")
    shown = told()["slow"]
    assert (shown.tags, shown.note) == ((), "")
    assert "upgrade Darkroom" in shown.notes_trouble


def test_a_run_that_cannot_be_read_keeps_its_card_and_the_others(pair: list[RunDir]) -> None:
    pair[0].record.write_text("{", encoding="utf-8")
    shown = told()
    assert (shown["slow"].state, shown["slow"].tone) == (("cannot be read",), "bad")
    assert shown["fast"].best is not None
    assert shown["fast"].settings == (), "of one run nothing differs"


@pytest.mark.usefixtures("pair")
def test_cards_that_have_not_changed_are_not_sent_again() -> None:
    visitor = TestClient(Starlette(routes=screen_routes()))
    first = visitor.get("/cards.json?lang=en&zone=Europe/Zurich")
    assert {card["name"] for card in first.json()} == {"slow", "fast"}
    again = visitor.get("/cards.json?lang=en&zone=Europe/Zurich", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
