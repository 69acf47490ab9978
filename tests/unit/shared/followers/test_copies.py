"""A copy of a run that keeps up with it, whole at any moment, from which the run goes on."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from run import app
from shared.files.publication import publish, remove, verify
from shared.followers.copies import MARK, Copying
from shared.launch import quarantine
from shared.run_folder import checkpoints
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import TRAIN_COLUMNS, Appender, read_rows
from tests.conftest import RunMaker, check, until


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    """A run with a snapshot, a checkpoint, a table with a torn row, and the record of a program."""
    made = make_paper_run()
    save(made, 2)
    table = Appender(made.train_csv, TRAIN_COLUMNS)
    for step in (1, 2):
        table.append({"step": step, "loss": 0.5})
    write(made, "3,0.")
    with hold_role(made, "trainer"):
        pass
    return made


def write(run: RunDir, text: str) -> None:
    """At the end of a table."""
    with run.train_csv.open("a", encoding="utf-8") as file:
        file.write(text)


def problems(run: RunDir) -> list[str]:
    """What is wrong, but for a row that is being written."""
    return [problem for problem in check(run) if "torn" not in problem]


def save(run: RunDir, step: int) -> None:
    """A snapshot and a checkpoint of a step."""
    run_id = run.read_record().run_id
    for kind, folder in (("snapshot", run.snapshot(step)), ("checkpoint", run.checkpoint(step))):
        manifest = Manifest(kind=kind, run_id=run_id, step=step)
        publish(
            run.staging, folder, manifest, lambda folder: (folder / "weights").write_bytes(bytes(range(256)) * step)
        )


def test_a_copy_is_a_whole_run_without_what_is_of_this_machine(run: RunDir, tmp_path: Path) -> None:
    there = RunDir(tmp_path / "drive" / "run")
    done = Copying(run, there.path).once()
    assert done.folders == 2 + run.references.exists()
    verify(there.checkpoint(2))
    assert [row["step"] for row in read_rows(there.train_csv)] == ["1", "2"]
    assert there.train_csv.read_bytes().endswith(b"\n"), "a torn row is not copied"
    assert there.read_record() == run.read_record()
    assert not there.processes.exists()
    assert not list(there.staging.iterdir())
    assert check(there) == problems(run) == []
    assert (Copying(run, there.path).once().folders, Copying(run, there.path).once().files) == (0, 0)


def test_a_copy_follows_what_is_saved_removed_and_written(run: RunDir, tmp_path: Path) -> None:
    there = RunDir(tmp_path / "there")
    copying = Copying(run, there.path)
    copying.once()
    save(run, 4)
    remove(run.staging, run.checkpoint(2))
    write(run, "3\n4,0.2\n")
    done = copying.once()
    assert (done.folders, done.files) == (2, 1)
    assert (steps_in(there.checkpoints), steps_in(there.snapshots)) == ({4}, {2, 4})
    assert there.train_csv.read_text().splitlines()[-2:] == ["3,0.3", "4,0.2"]


def test_a_run_folder_that_was_lost_takes_nothing_from_its_copy(run: RunDir, tmp_path: Path) -> None:
    there = RunDir(tmp_path / "there")
    copying = Copying(run, there.path)
    copying.once()
    shutil.rmtree(run.checkpoints)
    copying.once()
    assert steps_in(there.checkpoints) == {2}


@pytest.mark.parametrize("moment", [1, 2, 3, 5, 8, 11])
def test_killed_at_any_moment_a_copy_is_whole_or_none_and_is_finished_by_the_next(
    run: RunDir, tmp_path: Path, moment: int
) -> None:
    there = RunDir(tmp_path / "there")
    if (child := os.fork()) == 0:
        real, count = os.fsync, 0

        def fsync(descriptor: int) -> None:
            nonlocal count
            if (count := count + 1) == moment:
                os._exit(9)
            real(descriptor)

        os.fsync = fsync
        Copying(run, there.path).once()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    for folder in (*there.snapshots.glob("step-*"), *there.checkpoints.glob("step-*")):
        verify(folder)
    Copying(run, there.path).once()
    assert check(there) == problems(run) == []
    assert not list(there.staging.iterdir())


def test_two_that_copy_at_once_make_one_whole_copy(run: RunDir, tmp_path: Path) -> None:
    """As where a cell of a notebook is run again while the former copy still goes on."""
    there, failures = RunDir(tmp_path / "there"), list[BaseException]()

    def copy() -> None:
        try:
            Copying(run, there.path).once()
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    both = [threading.Thread(target=copy) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert failures == []
    assert check(there) == problems(run) == []
    assert not list(there.staging.iterdir())


def test_a_damaged_folder_is_named_and_the_rest_is_copied(run: RunDir, tmp_path: Path) -> None:
    (run.snapshot(2) / "weights").write_text("x")
    done = CliRunner().invoke(app, ["copy", str(run.path), str(tmp_path / "there")])
    assert done.exit_code == 1
    assert "weights does not match the manifest's sha256" in done.output
    there = RunDir(tmp_path / "there")
    assert (steps_in(there.snapshots), steps_in(there.checkpoints)) == (set(), {2})


def test_what_is_no_copy_of_this_run_is_refused_and_left(run: RunDir, make_paper_run: RunMaker, tmp_path: Path) -> None:
    other, mine = make_paper_run("other"), tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("words")
    for target, problem in (
        (other.path, "holds another run"),
        (mine, "is not empty and holds no run"),
        (mine / "thesis.txt", "is not empty and holds no run"),
        (run.path / "copy", "lies in it"),
    ):
        done = CliRunner().invoke(app, ["copy", str(run.path), str(target)])
        assert done.exit_code == 2
        assert problem in done.output
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
    assert not (run.path / "copy").exists()


def test_a_copy_that_was_only_begun_gives_way_to_another_run(run: RunDir, tmp_path: Path) -> None:
    there = tmp_path / "there"
    (there / "snapshots" / "step-00000009").mkdir(parents=True)
    (there / MARK).write_text("another-id")
    Copying(run, there).once()
    assert steps_in(RunDir(there).snapshots) == {2}


def test_a_place_that_cannot_be_written_is_named_once_and_tried_again(run: RunDir, tmp_path: Path) -> None:
    blocked, said = tmp_path / "drive", list[str]()
    copying = Copying(run, blocked / "run", said.append)
    blocked.write_text("a file where the folder should be")
    thread = threading.Thread(target=lambda: copying.follow(pass_seconds=0.02, look_seconds=0.01))
    thread.start()
    until(lambda: said, "the first complaint")
    blocked.unlink()
    until(lambda: (blocked / "run" / "run.json").exists(), "the copy")
    copying.finish()
    thread.join()
    assert ["cannot be written" in text for text in said] == [True, False]


def test_following_ends_with_the_run_that_it_has_seen_at_work(run: RunDir, tmp_path: Path) -> None:
    there, outcome = RunDir(tmp_path / "there"), list[bool]()
    copying = Copying(run, there.path)
    thread = threading.Thread(target=lambda: outcome.append(copying.follow(pass_seconds=0.02, look_seconds=0.01)))
    thread.start()
    until(there.record.exists, "the first pass")
    assert thread.is_alive(), "it has not begun yet"
    with hold_role(run, "trainer") as trainer:
        trainer.update("training", step=3)
        until(lambda: run.processes.exists(), "the trainer's record")
        save(run, 4)
        until(lambda: steps_in(there.checkpoints) == {2, 4}, "the checkpoint")
    thread.join(timeout=30)
    assert outcome == [True]


def test_a_copy_is_copied_back_to_an_empty_place(run: RunDir, tmp_path: Path) -> None:
    there, back = tmp_path / "there", RunDir(tmp_path / "runs2" / run.path.name)
    Copying(run, there).once()
    done = CliRunner().invoke(app, ["copy", str(there), str(back.path)])
    assert (done.exit_code, check(back)) == (0, [])
    assert CliRunner().invoke(app, ["copy", str(tmp_path / "nowhere"), str(tmp_path / "x")]).exit_code == 2


def test_what_was_damaged_and_set_aside_is_copied_as_it_is(run: RunDir, tmp_path: Path) -> None:
    for step in (4, 6):
        save(run, step)
    (run.checkpoint(6) / "weights").write_bytes(b"cut")
    checkpoints.move_aside(run, 6, checkpoints.DAMAGED)
    (run.snapshot(4) / "weights").write_bytes(b"cut")
    there = RunDir(tmp_path / "drive" / "run")
    copying = Copying(run, there.path)
    assert len(copying.once().damaged) == 1, "the damaged snapshot counts, the checkpoint does not"
    assert next(one.path for one in quarantine.repair(run)) == "snapshots/step-00000004"
    assert copying.once().damaged == []
    for path in [*run.path.glob("quarantine/*/snapshots/*/*"), *run.checkpoints.glob("damaged-*/*")]:
        assert (there.path / path.relative_to(run.path)).read_bytes() == path.read_bytes()
    assert len(list(there.path.rglob("weights"))) == 6
