"""A tracker gets everything of a run once, whatever becomes of the tracker, its process, or the files meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples.fake_run.history import write_history
from examples.fake_run.run import FakeRun, create
from shared.errors import ConfigError
from shared.followers import trackers
from shared.followers.follower import Follower, exit_code, is_over
from shared.followers.new_rows import NewRows
from shared.followers.tracker import parse_row
from shared.run_folder.heartbeat import hold_role, read_status, read_trackers
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import TRAIN_COLUMNS, Appender, prune, read_rows
from tests.conftest import ROOT, environment, until

TOYS = Path(__file__).with_name("toys")
STEPS = 40
FOLLOW = """
import sys
from shared.followers import __main__, trackers
trackers.__path__.append(sys.argv.pop())
sys.exit(__main__.main())
"""


@pytest.fixture(autouse=True)
def toy_is_a_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    """One file beside the others is all there is to adding one."""
    monkeypatch.setattr(trackers, "__path__", [*trackers.__path__, str(TOYS)])
    monkeypatch.delitem(sys.modules, "shared.followers.trackers.toy", raising=False)


@pytest.fixture
def fake(tmp_path: Path) -> FakeRun:
    """A run that is over; some of its evaluations have contact sheets."""
    made = create(tmp_path / "kimono", steps=STEPS, snapshot_steps=10)
    write_history(made)
    for step in (0, 10, 40):
        (made.run.evaluation(step) / "sheet.webp").write_bytes(b"")
    return made


@contextmanager
def following(run: RunDir) -> Generator[Follower]:
    with hold_role(run, "tracker", "toy") as status:
        yield Follower(run, "toy", trackers.create("toy"), status, look_seconds=0.01, retry_seconds=0.01)


def follow(run: RunDir) -> bool:
    with following(run) as follower:
        return follower.follow()


def told(run: RunDir, kind: str) -> list[object]:
    """What the toy was told of one kind, in order."""
    lines = (run.tracker("toy") / "told.jsonl").read_text().splitlines()
    return [value for line in map(json.loads, lines) if line[0] == kind for value in line[1:]]


def columns(run: RunDir) -> dict[str, list[int]]:
    """Steps of each table."""
    tables = {"train": run.train_csv, "validation": run.validation_csv, "metrics": run.metrics_csv}
    return {name: [int(row["step"]) for row in read_rows(path)] for name, path in tables.items()}


def assert_whole(run: RunDir) -> None:
    for table, steps in columns(run).items():
        assert told(run, table) == steps, table
    assert told(run, "sheet") == [0, 10, 40]


def test_a_finished_run_is_delivered_whole_and_once(fake: FakeRun) -> None:
    assert follow(fake.run)
    assert_whole(fake.run)
    best = fake.run.read_best()
    assert best
    assert told(fake.run, "best") == [best.step]
    assert told(fake.run, "end") == [0]
    assert follow(fake.run)
    assert_whole(fake.run)
    assert told(fake.run, "begin") == ["kimono", "kimono"]


def test_a_follower_that_is_killed_goes_on_where_it_was(fake: FakeRun) -> None:
    (folder := fake.run.tracker("toy")).mkdir(parents=True)
    (folder / "dies").touch()

    def run_process() -> int:
        command = [sys.executable, "-c", FOLLOW, str(fake.run.path), "toy", str(TOYS)]
        return subprocess.run(command, env=environment(), cwd=ROOT, check=False, timeout=120).returncode

    assert run_process() == -9
    assert told(fake.run, "train") == columns(fake.run)["train"]
    assert told(fake.run, "metrics") == []
    assert run_process() == 0
    assert_whole(fake.run)


def test_a_tracker_that_fails_is_a_notice_and_is_tried_again(fake: FakeRun) -> None:
    (folder := fake.run.tracker("toy")).mkdir(parents=True)
    (folder / "fails").touch()
    with hold_role(fake.run, "trainer") as trainer, following(fake.run) as follower:
        thread = threading.Thread(target=follower.follow)
        thread.start()
        notices = lambda: (status := read_status(fake.run, "tracker", "toy")) and status.notices  # noqa: E731
        until(lambda: list(read_trackers(fake.run)) == ["toy"], "its status")
        until(lambda: notices() == ("toy: the toy is not reachable",), "the notice")
        (folder / "fails").unlink()
        until(lambda: told(fake.run, "train") == columns(fake.run)["train"], "another try")
        trainer.close("finished")
        thread.join(60)
    assert_whole(fake.run)


def test_what_a_tracker_never_takes_is_said_and_kept_for_the_next_start(fake: FakeRun) -> None:
    (folder := fake.run.tracker("toy")).mkdir(parents=True)
    (folder / "fails").touch()
    assert not follow(fake.run)
    status = read_status(fake.run, "tracker", "toy")
    assert status
    assert f"python -m shared.followers {fake.run.path} toy" in status.notices[-1]
    (folder / "fails").unlink()
    assert follow(fake.run)
    assert_whole(fake.run)


def test_steps_that_are_trained_again_are_not_delivered_again(fake: FakeRun) -> None:
    assert follow(fake.run)
    run = fake.run
    prune(run.train_csv, lambda row: int(row["step"]) <= 30)
    table = Appender(run.train_csv, TRAIN_COLUMNS)
    for step in range(31, 46):
        table.append({"step": step, "loss": 0.5})
    assert follow(run)
    assert told(run, "train") == list(range(1, 46))


def test_a_skipped_snapshot_comes_again_when_it_was_evaluated_after_all(fake: FakeRun) -> None:
    text = fake.run.metrics_csv.read_text()
    fake.run.metrics_csv.write_text(text.replace(",failed,", ",skipped,"))
    assert follow(fake.run)
    fake.run.metrics_csv.write_text(text)
    assert follow(fake.run)
    assert told(fake.run, "metrics")[-1:] == [30]
    assert len(told(fake.run, "metrics")) == len(columns(fake.run)["metrics"]) + 1


def test_a_torn_last_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    new = NewRows(path)
    assert new.read() == []
    path.write_text("step,loss\n1,0.5\n2,0.")
    assert new.read() == [{"step": "1", "loss": "0.5"}]
    with path.open("a") as file:
        file.write("25\n")
    assert new.read() == [{"step": "2", "loss": "0.25"}]
    path.with_suffix(".new").write_text("step,loss\n1,0.5\n2,0.75\n3,1\n")
    path.with_suffix(".new").replace(path)
    assert [row["step"] for row in new.read()] == ["1", "2", "3"], "a replaced file is read from its beginning"


def test_a_row_has_its_numbers_and_its_texts_and_no_blanks() -> None:
    cells = {"step": "7", "timestamp": "1970-01-01T00:00:10+00:00", "loss": "nan", "gap": "", "status": "ok"}
    row = parse_row(cells)
    assert (row.step, row.time, row.texts) == (7, 10.0, {"status": "ok"})
    assert list(row.numbers) == ["loss"]


def test_a_run_is_over_when_nobody_writes_any_more(fake: FakeRun) -> None:
    assert is_over(fake.run)
    with hold_role(fake.run, "supervisor") as supervisor:
        assert not is_over(fake.run)
        supervisor.update("serving")
        assert is_over(fake.run)
        with hold_role(fake.run, "trainer") as trainer:
            assert not is_over(fake.run)
            trainer.close("failed", "no finite loss")
    assert exit_code(fake.run) == 1


def test_trackers_that_cannot_be_are_named_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    trackers.require(["toy"])
    toy = trackers._module("toy")
    monkeypatch.setattr(toy, "PACKAGE", "a_package_nobody_has")
    with pytest.raises(ConfigError, match="names 'nobody'; the tracker toy needs a_package_nobody_has") as caught:
        trackers.require(["nobody", "toy"])
    assert "choose from tensorboard, toy, wandb; install it: pip install a_package_nobody_has" in caught.value.hint
