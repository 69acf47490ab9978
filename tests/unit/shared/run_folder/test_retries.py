"""What failed because a file was missing is tried again once the file is back, and nothing else is."""

from __future__ import annotations

from pathlib import Path

from shared.files.publication import publish
from shared.run_folder import averages
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.retries import MAX_TRIES, Retries
from shared.run_folder.run_dir import RunDir
from shared.run_folder.sharing.leases import claimed
from tests.conftest import RunMaker


def linked(run: RunDir, file: Path, step: int) -> Path:
    """A snapshot of a file of another trainer."""
    file.write_bytes(b"weights")
    manifest = Manifest(kind="snapshot", run_id=run.read_record().run_id, step=step)
    publish(run.staging, run.snapshot(step), manifest, lambda folder: (folder / file.name).symlink_to(file))
    return file


def fail(run: RunDir, step: int, kind: str = "evaluations", *, lost: bool = True) -> Path:
    target = run.result(kind, step)
    target.mkdir(parents=True)
    EvaluationResult(run_id="r", step=step, status="failed", lost=lost).write(target / "result.json")
    return target


def test_a_result_of_each_kind_is_removed_when_the_file_is_back_unless_it_is_claimed(
    make_paper_run: RunMaker, tmp_path: Path
) -> None:
    run = make_paper_run()
    file, other = (linked(run, tmp_path / f"{step}.safetensors", step) for step in (10, 20))
    average = averages.averaged(10, 20)
    assert average
    kinds = ("evaluations", "confirmations", "strengths/0.80")
    lost = [*(fail(run, 10, kind) for kind in kinds), fail(run, average)]
    damaged = fail(run, 20, lost=False)
    away = file.rename(tmp_path / "away")
    retries = Retries(run)
    assert retries.retry() == []
    linked_to_another = other.read_bytes()
    other.write_bytes(b"another")
    away.rename(file)
    with claimed(run, 10, "confirmations"):
        assert retries.retry() == [10]
    assert [folder.exists() for folder in lost] == [False, True, False, True], "a member of the average is another file"
    other.write_bytes(linked_to_another)
    assert retries.retry() == [10, average]
    assert damaged.exists()


def test_a_drive_that_comes_and_goes_is_not_tried_for_ever(make_paper_run: RunMaker, tmp_path: Path) -> None:
    run = make_paper_run()
    linked(run, tmp_path / "10.safetensors", 10)
    retries = Retries(run)
    for _ in range(MAX_TRIES):
        fail(run, 10)
        assert retries.retry() == [10]
    fail(run, 10)
    assert retries.retry() == []
