"""Checkpoints by their manifests: the newest whole one, a run that goes back to one, a run that begins at one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shared.errors import RunFolderError
from shared.files.publication import publish, verify
from shared.run_folder import checkpoints
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir, steps_in
from tests.conftest import RunMaker, check


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


def save(run: RunDir, step: int, run_id: str | None = None) -> Path:
    details = {"settings": {"lora.rank": 2}, "pictures_per_step": 2}
    manifest = Manifest(kind="checkpoint", run_id=run_id or run.read_record().run_id, step=step, details=details)
    assert publish(run.staging, run.checkpoint(step), manifest, lambda stage: (stage / "a").write_text(f"step {step}"))
    return run.checkpoint(step)


def test_the_newest_whole_one_is_named_and_nothing_is_moved(run: RunDir) -> None:
    assert checkpoints.newest_whole(run) is None
    for step in (2, 4, 6):
        save(run, step)
    save(run, 99, run_id="another")
    (run.checkpoint(6) / "a").write_text("step 7")
    assert checkpoints.newest_whole(run) == 4
    assert steps_in(run.checkpoints) == {2, 4, 6, 99}


def test_a_run_goes_back_by_moving_later_checkpoints_aside(run: RunDir) -> None:
    for step in (2, 4, 6):
        save(run, step)
    foreign = save(run, 99, run_id="another")
    checkpoints.go_back(run, run.checkpoint(2))
    assert checkpoints.own_steps(run) == [2]
    assert len(list(run.checkpoints.glob("left-step-*"))) == 2
    verify(foreign)


def test_a_copy_kept_elsewhere_takes_a_damaged_ones_place(run: RunDir, tmp_path: Path) -> None:
    shutil.copytree(save(run, 4), tmp_path / "copy")
    (run.checkpoint(4) / "a").write_text("")
    checkpoints.go_back(run, tmp_path / "copy")
    assert checkpoints.newest_whole(run) == 4
    assert list(run.checkpoints.glob("damaged-step-00000004-*"))


def test_going_back_to_what_is_no_whole_checkpoint_of_this_run_changes_nothing(run: RunDir, tmp_path: Path) -> None:
    save(run, 2)
    save(run, 4)
    damaged, foreign = shutil.copytree(run.checkpoint(2), tmp_path / "damaged"), save(run, 99, run_id="another")
    (damaged / "a").write_text("")
    for folder, complaint in ((damaged, "bytes"), (foreign, "another run"), (run.snapshots, "manifest")):
        with pytest.raises(RunFolderError, match=complaint):
            checkpoints.go_back(run, folder)
    with hold_role(run, "trainer"), pytest.raises(RunFolderError, match="is in use"):
        checkpoints.go_back(run, run.checkpoint(2))
    assert steps_in(run.checkpoints) == {2, 4, 99}


def test_a_run_that_begins_at_a_checkpoint_holds_it_as_its_own_and_names_where_it_is_from(
    run: RunDir, make_paper_run: RunMaker
) -> None:
    other = make_paper_run("other")
    checkpoints.adopt(other, save(run, 4))
    manifest = verify(other.checkpoint(4))
    assert (manifest.run_id, manifest.step) == (other.read_record().run_id, 4)
    assert (other.checkpoint(4) / "a").read_text() == "step 4"
    assert manifest.details == {"settings": {"lora.rank": 2}}, "its stream of pictures begins anew"
    origin = other.read_record().origin
    assert origin
    assert (origin.run_id, origin.step, origin.path) == (run.read_record().run_id, 4, str(run.checkpoint(4)))
    other.train_csv.write_text("step\n5\n6\n")
    assert not [problem for problem in check(other) if problem.startswith("training rows")]
    other.train_csv.write_text("step\n1\n2\n")
    assert [problem for problem in check(other) if problem.startswith("training rows")]
