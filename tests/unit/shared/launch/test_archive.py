"""Everything that a run has published, in one zip, whole or not at all."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from run import app
from shared.errors import LostFileError, RunFolderError
from shared.files.publication import publish, verify
from shared.launch import archive
from shared.machine import disk
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tests.conftest import RunMaker


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    """A run with two snapshots, their average and a checkpoint."""
    made = make_paper_run()
    made.averages.mkdir()
    average = 1_0000002_0000004
    targets = {2: made.snapshot(2), 4: made.snapshot(4), average: made.snapshot(average), 5: made.checkpoint(4)}
    for step, target in targets.items():
        kind = "checkpoint" if step == 5 else "snapshot"
        manifest = Manifest(kind=kind, run_id=made.read_record().run_id, step=4 if step == 5 else step)
        publish(
            made.staging, target, manifest, lambda folder, step=step: (folder / "weights").write_text(f"{step}" * 99)
        )
    return made


def test_the_archive_holds_what_is_published_and_what_says_what_it_is(run: RunDir, tmp_path: Path) -> None:
    said: list[str] = []
    assert archive.write(run, tmp_path / "all.zip", said.append) == 4
    with zipfile.ZipFile(tmp_path / "all.zip") as file:
        assert file.testzip() is None
        file.extractall(tmp_path / "out")
    there = RunDir(tmp_path / "out" / run.path.name)
    for folder in (run.snapshot(2), run.snapshot(4), run.snapshot(1_0000002_0000004), run.checkpoint(4)):
        verify(there.path / folder.relative_to(run.path))
    assert there.read_record() == run.read_record()
    assert there.config.read_bytes() == run.config.read_bytes()
    assert "snapshots/step-00000002" in said


@pytest.mark.parametrize("fault", ["changed", "missing", "existing", "empty", "full"])
def test_nothing_is_left_where_it_cannot_be_written(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    if fault == "changed":
        (run.snapshot(4) / "weights").write_text("x" * 99)
    if fault == "missing":
        (run.snapshot(4) / "weights").unlink()
    if fault == "existing":
        (place / "all.zip").write_text("mine")
    if fault == "empty":
        for folder in (run.snapshots, run.averages, run.checkpoints):
            shutil.rmtree(folder)
    if fault == "full":
        monkeypatch.setattr(disk, "free_bytes", lambda folder: 10)
    with pytest.raises(LostFileError if fault in ("changed", "missing") else RunFolderError):
        archive.write(run, place / "all.zip")
    assert [path.name for path in place.iterdir()] == (["all.zip"] if fault == "existing" else [])
    if fault == "existing":
        assert (place / "all.zip").read_text() == "mine"


def test_a_checkpoint_that_training_deletes_meanwhile_is_left_out(run: RunDir, tmp_path: Path) -> None:
    def say(text: str) -> None:
        said.append(text)
        shutil.rmtree(run.checkpoint(4), ignore_errors=True)

    said: list[str] = []
    assert archive.write(run, tmp_path / "all.zip", say) == 3
    assert said[-1] == "checkpoints/step-00000004 was deleted meanwhile: it is left out"


def test_the_command_names_the_archive_and_refuses_with_code_2(run: RunDir, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["archive", str(run.path), "--output", str(tmp_path / "all.zip")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "all.zip").is_file()
    assert CliRunner().invoke(app, ["archive", str(run.path), "--output", str(tmp_path / "all.zip")]).exit_code == 2
