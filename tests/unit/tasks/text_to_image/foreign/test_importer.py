"""The program that takes LoRAs as they appear ends when it is told to, when nothing changes, or when patience ends."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import RunFolderError
from shared.run_folder import requests
from shared.run_folder.heartbeat import hold_role, read_status
from shared.run_folder.records.run_record import Imported
from shared.run_folder.run_dir import RunDir, steps_in
from tasks.text_to_image.foreign import importer as program
from tasks.text_to_image.foreign.importer import Importer
from tests.conftest import RunMaker
from tests.unit.tasks.text_to_image.foreign.conftest import age, write

Between = Callable[[Importer, int], object]


@pytest.fixture
def run(make_paper_run: RunMaker, tmp_path: Path) -> RunDir:
    run, folder = make_paper_run(), tmp_path / "output"
    write(folder / "dress-step00000500.safetensors")
    run.read_record().model_copy(update={"imported": Imported(folder=str(folder))}).write(run.record)
    return run


def work(run: RunDir, monkeypatch: pytest.MonkeyPatch, between: Between, *, follows: bool, patience: float = 0) -> int:
    """Returns how often it waited. between: what happens at each wait, in place of waiting."""
    waits: list[int] = []

    def pause(importer: Importer) -> None:
        assert len(waits) < 5, "it does not end"
        waits.append(len(waits))
        between(importer, len(waits))

    monkeypatch.setattr(Importer, "_pause", pause)
    with hold_role(run, "importer") as status:
        assert Importer(run, status, follows=follows, patience=patience).work() == 0
    ended = read_status(run, "importer")
    assert ended
    assert ended.state == "finished"
    return len(waits)


def test_it_takes_what_is_there_and_ends(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    assert work(run, monkeypatch, lambda *_: None, follows=False) == 0
    assert steps_in(run.snapshots) == {500}


def test_it_follows_until_a_request_to_stop_which_it_answers(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(run.read_record().imported.folder)  # type: ignore[union-attr]

    def between(_: Importer, number: int) -> None:
        if number == 1:
            write(folder / "dress-step00000600.safetensors", value=6)
        if number == 2:
            requests.submit_stop(run, "a test")

    assert work(run, monkeypatch, between, follows=True) == 2
    assert steps_in(run.snapshots) == {500, 600}
    ended = read_status(run, "importer")
    assert ended
    assert "found step 600 (dress-step00000600.safetensors)" in ended.notices
    assert requests.open_requests(run, "stop") == []


def test_it_ends_after_its_patience_and_takes_what_never_became_whole(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(run.read_record().imported.folder)  # type: ignore[union-attr]
    damaged = write(folder / "dress-step00000700.safetensors")
    damaged.write_bytes(damaged.read_bytes()[:-5])
    age(damaged)
    clock = iter(range(0, 1000, 50))
    monkeypatch.setattr(program.time, "monotonic", lambda: next(clock))
    work(run, monkeypatch, lambda *_: None, follows=True, patience=2)
    assert steps_in(run.snapshots) == {500, 700}


def test_a_folder_that_is_away_for_a_while_does_not_end_it(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(run.read_record().imported.folder)  # type: ignore[union-attr]
    shutil.move(folder, folder.with_name("away"))

    def between(importer: Importer, number: int) -> None:
        if number == 1:
            shutil.move(folder.with_name("away"), folder)
        else:
            importer.end()

    work(run, monkeypatch, between, follows=True)
    assert steps_in(run.snapshots) == {500}
    ended = read_status(run, "importer")
    assert ended
    assert ended.notices[0] == f"{folder} cannot be read: No such file or directory"


def test_a_run_that_trains_has_no_importer(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    with pytest.raises(RunFolderError, match="has snapshots of its own"), hold_role(run, "importer") as status:
        Importer(run, status, follows=False, patience=0)
