"""LoRAs come into a run when they are written to their end; nothing is written where they lie."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluator.results_table import read_evidence
from evaluator.selection import cautions
from shared.errors import RunFolderError
from shared.files.publication import publish, read_manifest, verify
from shared.run_folder.file_to_ship import file_state
from shared.run_folder.phrase import in_unit
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.sharing.leases import claimed
from tasks.text_to_image.foreign.command import folder_run
from tasks.text_to_image.foreign.files.found import Search
from tasks.text_to_image.foreign.snapshots.bringing import Bringing
from tests.conftest import RunMaker
from tests.unit.tasks.text_to_image.foreign.conftest import age, write


class Folder:
    """A trainer's folder, and the run that takes what lies there."""

    def __init__(self, run: RunDir, path: Path) -> None:
        self.run, self.path = run, path
        self.said: list[str] = []
        self.search, self.bringing = Search(path), Bringing(run, self.said.append)

    def bring(self, *when: str) -> int:
        return self.bringing.bring(self.search.look(), *when)  # type: ignore[arg-type]

    def result(self, step: int, status: str, *, lost: bool = False) -> None:
        run_id = self.run.read_record().run_id
        result = EvaluationResult(run_id=run_id, step=step, status=status, lost=lost)  # type: ignore[arg-type]
        manifest = Manifest(kind="evaluation", run_id=run_id, step=step)
        publish(
            self.run.staging, self.run.evaluation(step), manifest, lambda folder: result.write(folder / "result.json")
        )


@pytest.fixture
def folder(make_paper_run: RunMaker, tmp_path: Path) -> Folder:
    run = make_paper_run()
    path = tmp_path / "output"
    path.mkdir()
    imported = folder_run.Imported(folder=str(path))
    run.read_record().model_copy(update={"imported": imported}).write(run.record)
    return Folder(run, path)


def test_a_step_that_nothing_tells_is_said_to_be_a_guess_wherever_the_verdict_is(folder: Folder) -> None:
    for number in (100, 200):
        write(folder.path / f"dress-step{number:08d}.safetensors", value=number)
    write(folder.path / "final.safetensors", value=300)
    folder.bring()
    assert read_evidence(folder.run).guessed == {300: "final.safetensors"}
    chosen, other = (next(cautions.of_guesses({300: "final.safetensors"}, step)) for step in (300, 100))
    assert str(chosen) == "Step 300 is final.safetensors. No name or header tells its step: 300 is a guess."
    assert in_unit(str(other), "epoch").startswith("final.safetensors stands at epoch 300, which is a guess")
    (several,) = cautions.of_guesses({65: "dress-000013.safetensors", 70: "dress-000014.safetensors"}, 100)
    assert str(several).startswith(
        "2 LoRAs stand at steps that are guesses, such as dress-000013.safetensors at step 65:"
    )


def test_a_whole_file_takes_the_place_of_a_damaged_one_of_the_same_step(folder: Folder) -> None:
    damaged = folder.path / "dress-step00000100.safetensors"
    damaged.write_bytes(b"torn")
    folder.bring("everything")
    folder.result(100, "failed")
    write(folder.path / "dress_000000100.safetensors")
    assert folder.bring() == 1
    assert (folder.run.snapshot(100) / "dress_000000100.safetensors").is_symlink()
    assert not folder.run.evaluation(100).exists()
    assert f"dress_000000100.safetensors takes the place of {damaged.name}, which could not be evaluated" in folder.said
    folder.result(100, "ok")
    assert folder.bring() == 0


def test_a_whole_file_becomes_a_snapshot_that_links_to_it_and_it_is_not_touched(folder: Folder) -> None:
    file = write(folder.path / "dress-000012.safetensors", ss_steps="500", ss_epoch="12")
    file.chmod(0o600)
    before = file.stat()
    assert folder.bring() == 1
    link = folder.run.snapshot(500) / file.name
    assert link.readlink() == file
    manifest = verify(folder.run.snapshot(500))
    assert manifest.details == {"epoch": 12, "file": file.name, "trainer": "", "rank": 2}
    after = file.stat()
    assert (stat.S_IMODE(after.st_mode), after.st_ctime_ns, after.st_nlink) == (0o600, before.st_ctime_ns, 1)
    assert [*folder.path.iterdir()] == [file]
    assert folder.bring() == 0


def test_a_file_that_still_changes_or_lacks_its_end_waits(folder: Folder) -> None:
    file = write(folder.path / "dress-000001.safetensors", ss_steps="500")
    whole = file.read_bytes()
    write(folder.path / "dress-000002.safetensors", ss_steps="1000")
    os.utime(folder.path / "dress-000002.safetensors")  # written this moment
    file.write_bytes(whole[:-5])
    age(file)
    assert folder.bring() == 0
    assert folder.bringing.unsettled == 2
    assert folder.bring() == 1, "the second has not changed between two looks"
    assert steps_in(folder.run.snapshots) == {1000}
    file.write_bytes(whole)
    age(file)
    assert folder.bring() == 1
    assert steps_in(folder.run.snapshots) == {500, 1000}


def in_place(folder: Folder, name: str) -> None:
    """As safetensors up to 0.7 and `cp` do: looked at while half of it is there."""
    file = write(folder.path / name)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert folder.bring() == 0
    file.write_bytes(whole)
    age(file)


def renamed(folder: Folder, name: str) -> None:
    """As safetensors from 0.8 on and rsync do: looked at while it has its first name."""
    first = write(folder.path / f".{name}.Ab12Cd")
    assert folder.bring() == 0
    first.rename(folder.path / name)


def from_another_folder(folder: Folder, name: str) -> None:
    shutil.move(write(folder.path.parent / "elsewhere" / name), folder.path / name)


def linked(folder: Folder, name: str) -> None:
    (folder.path / name).symlink_to(write(folder.path.parent / "elsewhere" / name))


@pytest.mark.parametrize("publish_file", [in_place, renamed, from_another_folder, linked])
def test_a_file_is_taken_once_however_it_comes(folder: Folder, publish_file: Callable[[Folder, str], None]) -> None:
    """F16."""
    publish_file(folder, "dress-step00000500.safetensors")
    assert folder.bring() == 1
    assert folder.bring() == 0
    assert steps_in(folder.run.snapshots) == {500}
    verify(folder.run.snapshot(500))


def test_what_never_becomes_whole_is_taken_at_the_end_and_again_when_it_was_mended(folder: Folder) -> None:
    file = write(folder.path / "dress-step00000500.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    age(file, 10)
    folder.bring("also what has stopped changing")
    assert folder.bring("also what has stopped changing") == 0, "it may still be written"
    assert folder.bring("everything") == 1
    damaged = read_manifest(folder.run.snapshot(500))
    folder.result(500, "failed")
    assert folder.bring() == 0
    file.write_bytes(whole)
    age(file)
    assert folder.bring() == 1
    assert read_manifest(folder.run.snapshot(500)) != damaged
    assert not folder.run.evaluation(500).exists()


def test_a_file_that_changes_after_its_evaluation_is_said_and_its_snapshot_stays(folder: Folder) -> None:
    file = write(folder.path / "dress-step00000500.safetensors")
    folder.bring()
    folder.result(500, "ok")
    write(file, value=2.0)
    assert folder.bring() == 0
    assert folder.said == [
        "changed since the evaluation: dress-step00000500.safetensors (step 500); the numbers are of the files as they "
        "were, which cannot be shipped: restore them, or --new evaluates all again"
    ]
    with pytest.raises(RunFolderError, match=r"output/dress-step00000500\.safetensors does not match"):
        verify(folder.run.snapshot(500))
    file.unlink()
    with pytest.raises(RunFolderError, match=r"output/dress-step00000500\.safetensors is missing"):
        verify(folder.run.snapshot(500))


def test_another_file_of_a_step_that_is_taken_is_left_out_and_said(folder: Folder) -> None:
    write(folder.path / "dress-step00000500.safetensors")
    folder.bring()
    write(folder.path / "dress.safetensors", rank=4, ss_steps="500")
    assert folder.bring() == 0
    assert "dress.safetensors is left out: dress-step00000500.safetensors is the one of step 500" in folder.said


def test_where_links_are_impossible_files_are_copied_and_it_is_said(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(folder.path / "dress-step00000500.safetensors")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder.bring()
    assert folder.said == [f"{file.name} is copied: Operation not permitted, so it cannot be linked here"]
    file.unlink()
    verify(folder.run.snapshot(500))


def test_epochs_stay_the_unit_of_a_run_that_began_with_them(folder: Folder) -> None:
    write(folder.path / "dress-000001.safetensors")
    folder.bring()
    imported = folder.run.read_record().imported
    assert imported
    assert imported.unit == "epoch"
    write(folder.path / "dress-000002.safetensors", ss_steps="100", ss_epoch="2")
    folder.bring()
    assert steps_in(folder.run.snapshots) == {1, 2}


def test_what_is_not_whole_decides_no_unit_and_is_never_announced_as_found(folder: Folder) -> None:
    folder.bringing.announces = True
    file = write(folder.path / "dress-000001.safetensors", ss_steps="600")
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    age(file)
    folder.bring()
    folder.bring()
    broken = f"it has {len(whole) - 5} bytes, its header says {len(whole)}"
    assert folder.said == [f"{file.name} waits: {broken}, and no longer grows"]
    file.write_bytes(whole)
    age(file)
    folder.bring()
    assert folder.said[1:] == [f"found step 600 ({file.name})"]
    (folder.path / "dress-step00000700.safetensors").touch()
    folder.bring("everything")
    assert folder.said[2:] == ["dress-step00000700.safetensors cannot be evaluated, as step 700: it is empty"]


def test_the_last_one_takes_the_place_of_a_checkpoint_of_the_same_bytes_that_was_deleted(folder: Folder) -> None:
    file = write(folder.path / "checkpoint-900" / "pytorch_lora_weights.safetensors")
    folder.bring()
    folder.result(900, "failed")
    last = folder.path / file.name
    file.rename(last)
    file.parent.rmdir()
    assert folder.bring() == 0
    assert folder.said == [
        f"{file.name} has the same bytes as checkpoint-900/{file.name}, which has been deleted: it is the file of step "
        "900 from now on"
    ]
    assert steps_in(folder.run.snapshots) == {900}
    assert verify(folder.run.snapshot(900)).details["file"] == file.name
    assert not folder.run.evaluation(900).exists(), "it is tried again"
    assert folder.bring() == 0


def test_what_a_trainer_deletes_is_said_once_when_it_happens(folder: Folder) -> None:
    files = [write(folder.path / f"dress-step{step:08d}.safetensors", value=step) for step in (500, 600)]
    folder.bring()
    folder.result(500, "ok")
    late = write(folder.path / "dress-step00000700.safetensors", value=7)
    os.utime(late)
    folder.bring()
    for file in (*files, late):
        file.unlink()
    folder.bring()
    folder.bring()
    evaluated, before, unseen = folder.said
    assert evaluated.startswith(f"deleted or moved: {files[0].name}; the results stay, but")
    assert before.startswith(f"deleted or moved before the evaluation: {files[1].name} (--copy")
    assert unseen == f"deleted before it was whole: {late.name}"


def test_what_failed_while_its_file_was_away_is_evaluated_again_when_it_is_back(folder: Folder) -> None:
    file = write(folder.path / "dress-step00000500.safetensors")
    folder.bring()
    away = file.rename(folder.path.with_name("away.safetensors"))
    folder.bring()
    folder.result(500, "failed", lost=True)
    folder.bring()
    assert folder.run.evaluation(500).exists()
    away.rename(file)
    folder.bring()
    assert not folder.run.evaluation(500).exists()
    assert folder.said[-1] == "files that were missing are back: evaluating step 500 again"


def test_a_mended_file_is_taken_under_the_number_that_its_header_tells(folder: Folder) -> None:
    write(folder.path / "dress-000001.safetensors", ss_steps="120")
    damaged = folder.path / "dress-000004.safetensors"
    damaged.write_bytes(b"torn")
    folder.bring("everything")
    assert steps_in(folder.run.snapshots) == {120, 480}, "a guess by its epoch"
    folder.result(480, "failed")
    write(damaged, value=4, ss_steps="75")
    assert folder.bring() == 1
    assert steps_in(folder.run.snapshots) == {75, 120}
    assert not folder.run.evaluation(480).exists()
    assert folder.said[-1] == (
        f"{damaged.name} has changed before it was evaluated: it is taken as step 75, no longer 480"
    )


def test_files_that_are_replaced_before_their_evaluation_get_the_numbers_of_the_new_ones(folder: Folder) -> None:
    files = [folder.path / f"dress-00000{number}.safetensors" for number in (1, 2)]
    for file, steps in zip(files, ("30", "60"), strict=True):
        write(file, value=float(steps), ss_steps=steps)
    folder.bring()
    write(files[0], value=7, ss_steps="60")
    write(files[1], value=8, ss_steps="90")
    with claimed(folder.run, 60):
        assert folder.bring() == 0, "the second is being drawn: its result will be of what was loaded"
    assert folder.bringing.unsettled == 1
    folder.bring()
    assert {step: str(one.details["file"]) for step, one in folder.run.published_snapshots().items()} == {
        60: files[0].name,
        90: files[1].name,
    }
    assert f"{files[1].name} has changed before it was evaluated: it is taken as step 90, no longer 60" in folder.said


def test_a_file_that_is_replaced_while_it_is_drawn_keeps_the_snapshot_that_was_drawn(folder: Folder) -> None:
    file = write(folder.path / "dress-step00000500.safetensors")
    folder.bring()
    before = read_manifest(folder.run.snapshot(500))
    with claimed(folder.run, 500):
        write(file, value=2)
        folder.bring()
        folder.result(500, "ok")
    folder.bring()
    assert read_manifest(folder.run.snapshot(500)) == before
    assert file_state(folder.run, 500) == "changed"
    assert folder.said[0].startswith(f"changed since the evaluation: {file.name} (step 500)")


def test_another_training_into_the_same_names_is_said_in_one_sentence(folder: Folder) -> None:
    for step in (500, 600):
        write(folder.path / f"dress-step{step:08d}.safetensors", value=step)
    folder.bring()
    for step in (500, 600):
        folder.result(step, "ok")
        write(folder.path / f"dress-step{step:08d}.safetensors", value=step + 1)
    folder.bring()
    (said,) = folder.said
    assert "(step 500, 600)" in said
    assert said.endswith("--new evaluates all again; so do that if your trainer has begun again")


def test_a_file_of_a_step_that_was_guessed_for_another_and_evaluated_says_the_cure(folder: Folder) -> None:
    write(folder.path / "dress-step00000100.safetensors")
    write(folder.path / "dress.safetensors", value=2.0)
    folder.bring()
    folder.result(200, "ok")
    write(folder.path / "dress-step00000200.safetensors", value=3.0)
    assert folder.bring() == 0
    assert (
        "dress-step00000200.safetensors is left out: dress.safetensors is the one of step 200; its number was a guess: "
        "--new numbers all again"
    ) in folder.said


def test_files_that_are_all_replaced_by_one_after_their_evaluation_are_all_named(folder: Folder) -> None:
    files = [write(folder.path / f"dress-step{step:08d}.safetensors", value=step) for step in (100, 200, 300)]
    folder.bring()
    for step, file in zip((100, 200, 300), files, strict=True):
        folder.result(step, "ok")
        write(file, value=9)
    folder.bring()
    (said,) = [one for one in folder.said if one.startswith("changed since")]
    assert "(step 100, 200, 300)" in said


def test_of_a_file_that_could_not_be_evaluated_and_is_deleted_no_result_is_said_to_stay(folder: Folder) -> None:
    file = write(folder.path / "dress-step00000100.safetensors")
    folder.bring()
    folder.result(100, "failed")
    file.unlink()
    folder.bring()
    assert not any("the results stay" in one for one in folder.said)
    assert any("before the evaluation: dress-step00000100" in one for one in folder.said)


def test_the_number_of_a_guess_is_mended_before_the_evaluation(folder: Folder) -> None:
    write(folder.path / "dress-step00000100.safetensors", value=1)
    last = write(folder.path / "dress.safetensors", value=9)
    folder.bring()
    assert steps_in(folder.run.snapshots) == {100, 200}
    write(folder.path / "dress-step00000200.safetensors", value=2)
    folder.bring()
    assert steps_in(folder.run.snapshots) == {100, 200, 300}
    assert f"{last.name} is taken as step 300: 200 was a guess" in folder.said


def test_what_is_deleted_while_it_is_drawn_is_not_said_to_be_lost(folder: Folder) -> None:
    file = write(folder.path / "dress-step00000500.safetensors")
    folder.bring()
    file.unlink()
    with claimed(folder.run, 500):
        folder.bring()
    (said,) = folder.said
    assert said.startswith(f"deleted or moved during the evaluation: {file.name}; it goes on if")
