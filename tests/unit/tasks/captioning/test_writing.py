"""The queue of pictures: stopped, killed, in the way of a run or of a person, and undone."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from examples.fake_run.run import create
from shared.data.editing import captioned, captioner_status
from shared.errors import DataError
from shared.run_folder.heartbeat import hold_role
from tasks.captioning.writing import Queue, summary
from tests.data_run import give_data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        Image.new("RGB", (64, 64), (60 * number, 0, 0)).save(tmp_path / f"p{number}.png")
    (tmp_path / "p0.txt").write_text("mine")
    return tmp_path


def queue(folder: Path, *, every: bool = False, runs: Path | None = None, seconds: float = 0.0) -> Queue:
    return Queue(str(folder), runs or folder / "none", "tiny", every=every, seconds=seconds)


def red(picture: Image.Image) -> str:
    return f"red {picture.getpixel((0, 0))[0]}"  # type: ignore[index]


def texts(folder: Path) -> dict[str, str]:
    return {file.stem: file.read_text() for file in sorted(folder.glob("*.txt"))}


def test_pictures_without_a_caption_get_one_and_all_is_undone(folder: Path) -> None:
    work = queue(folder)
    work.work(lambda: red, lambda status: None)
    assert texts(folder) == {"p0": "mine", "p1": "red 60", "p2": "red 120", "p3": "red 180"}
    assert summary(work) == "3 of 3 captions written"
    status = captioner_status.read(folder)
    assert status
    assert (status.state, status.done, status.is_at_work) == ("finished", 3, False)
    history = captioned.read(work.config).history
    for known in history.changes():
        assert known.change.kind == "caption"
        history.undo(known.change.id)
    assert texts(folder) == {"p0": "mine"}


def test_it_stops_when_asked_and_goes_on_with_the_rest(folder: Path) -> None:
    def ask(_: object) -> None:
        captioner_status.ask_to_stop(folder)

    work = queue(folder, seconds=1000)
    work.work(lambda: red, ask)
    assert texts(folder) == {"p0": "mine", "p1": "red 60"}
    assert work.status.state == "stopped"
    rest = queue(folder)
    assert [pair.id for pair in rest.waiting] == ["p2", "p3"]
    rest.work(lambda: red, lambda status: None)
    assert len(texts(folder)) == 4


def test_all_that_a_program_writes_is_one_change_which_one_undo_takes_back(folder: Path) -> None:
    work = queue(folder, every=True)  # it writes after each picture
    work.work(lambda: red, lambda status: None)
    history = captioned.read(work.config).history
    (known,) = history.changes()
    assert [entry.id for entry in known.change.entries] == ["p0", "p1", "p2", "p3"]
    history.undo(known.change.id)
    assert texts(folder) == {"p0": "mine"}


def test_what_was_undone_while_the_program_writes_stays_undone(folder: Path) -> None:
    work = queue(folder)
    history = captioned.read(work.config).history

    def caption(picture: Image.Image) -> str:
        if red(picture) == "red 180":
            history.undo(history.changes()[0].change.id)
        return red(picture)

    work.work(lambda: caption, lambda status: None)
    assert texts(folder) == {"p0": "mine", "p3": "red 180"}
    newest, *others = history.changes()
    assert [entry.id for entry in newest.change.entries] == ["p3"]
    assert [bool(known.undone_by) for known in others] == [False, True], "the undo, and what it took back"


def test_what_a_person_writes_meanwhile_and_what_says_nothing_is_left_alone(folder: Path) -> None:
    def caption(picture: Image.Image) -> str:
        (folder / "p1.txt").write_text("a person's")
        return "" if red(picture) == "red 120" else red(picture)

    work = queue(folder, every=True, seconds=1000)
    work.work(lambda: caption, lambda status: None)
    assert texts(folder) == {"p0": "red 0", "p1": "a person's", "p3": "red 180"}
    assert summary(work) == "2 of 4 captions written, 2 left alone"


def test_two_programs_do_not_write_captions_at_once(folder: Path) -> None:
    with captioner_status.hold(folder), pytest.raises(DataError, match="another program is writing captions"):
        queue(folder).work(lambda: red, lambda status: None)


def test_a_run_that_trains_on_the_pictures_is_not_disturbed(tmp_path: Path) -> None:
    fake = create(tmp_path / "runs" / "busy", steps=10, snapshot_steps=10)
    data = give_data(fake, tmp_path / "data", 6)
    before = texts(data)
    work = queue(data, runs=tmp_path / "runs")
    with hold_role(fake.run, "trainer"):
        with pytest.raises(DataError, match="busy trains on the pictures"):
            queue(data, runs=tmp_path / "runs")
        with pytest.raises(DataError, match="busy trains on the pictures"):
            work.work(lambda: red, lambda status: None)
    assert texts(data) == before
    assert work.status.state == "failed"


def test_a_model_that_cannot_be_loaded_is_said_in_the_status(folder: Path) -> None:
    def fail() -> None:
        raise DataError("no such model", "give another one")

    with pytest.raises(DataError):
        queue(folder).work(fail, lambda status: None)  # type: ignore[arg-type]
    status = captioner_status.read(folder)
    assert status
    assert (status.state, status.message) == ("failed", "no such model")
