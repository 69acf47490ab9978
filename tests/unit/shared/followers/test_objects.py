"""A copy in object storage: whole folders only, manifest last; brought back it is the run."""

from __future__ import annotations

import uuid
from collections.abc import Generator
from pathlib import Path

import fsspec
import pytest
from typer.testing import CliRunner

from run import app
from shared.errors import ConfigError, RunFolderError
from shared.files.publication import MANIFEST, remove, verify
from shared.followers import objects
from shared.followers.copies import MARK
from shared.followers.objects import Store, Uploading
from shared.run_folder.run_dir import RunDir, steps_in
from tests.conftest import RunMaker, check
from tests.unit.shared.followers.test_copies import run, save, write

__all__ = ["run"]


@pytest.fixture
def address() -> Generator[str]:
    """Of an empty place in memory."""
    name = f"memory://{uuid.uuid4().hex}/run"
    yield name
    files, root = fsspec.url_to_fs(name)
    files.rm(root.rpartition("/")[0], recursive=True)


def test_a_copy_goes_there_and_back_as_a_whole_run(run: RunDir, address: str, tmp_path: Path) -> None:
    said: list[str] = []
    assert objects.copy(run.path, address, said.append)
    assert said == [f"copied to {address}: 3 folders, 4 files"]
    assert not any(name.startswith(("processes/", "control/")) for name in Store(address).sizes())
    back = RunDir(tmp_path / "back")
    assert objects.bring(address, back.path, said.append)
    verify(back.snapshot(2))
    assert back.train_csv.read_bytes() == run.train_csv.read_bytes()[: -len("3,0.")]
    assert back.record.read_bytes() == run.record.read_bytes()
    assert check(back) == []
    assert objects.copy(run.path, address, said.append)
    assert said[-1] == f"copied to {address}: 0 folders, 0 files"


def test_it_follows_what_is_saved_removed_and_written(run: RunDir, address: str) -> None:
    keeping = Uploading(run, address)
    keeping.once()
    save(run, 4)
    write(run, "5\n")
    remove(run.staging, run.snapshot(2))
    done = keeping.once()
    assert (done.folders, done.files, done.damaged) == (2, 1, [])
    there = Store(address).sizes()
    assert f"snapshots/step-00000004/{MANIFEST}" in there
    assert not any(name.startswith("snapshots/step-00000002/") for name in there)
    assert Store(address).read("train.csv") == run.train_csv.read_bytes()


def test_a_manifest_is_last_and_without_it_nothing_counts(
    run: RunDir, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Store.replace

    def cut(store: Store, name: str, content: bytes) -> None:
        if name.endswith(MANIFEST):
            raise OSError(0, "the connection is lost")
        real(store, name, content)

    monkeypatch.setattr(Store, "replace", cut)
    with pytest.raises(ConfigError, match="the connection is lost"):
        objects.copy(run.path, address, lambda text: None)
    names = Store(address).sizes()
    assert any(name.startswith("checkpoints/step-00000002/") for name in names), "its files were sent"
    with pytest.raises(RunFolderError, match="holds no run"):
        objects.bring(address, tmp_path / "back", lambda text: None)
    monkeypatch.setattr(Store, "replace", real)
    assert objects.copy(run.path, address, lambda text: None)
    assert objects.bring(address, tmp_path / "back", lambda text: None)


def test_what_is_damaged_there_or_here_is_named_and_the_rest_is_copied(
    run: RunDir, address: str, tmp_path: Path
) -> None:
    save(run, 4)
    assert objects.copy(run.path, address, lambda text: None)
    store, said = Store(address), list[str]()
    victim = next(
        name for name in store.sizes() if name.startswith("snapshots/step-00000002/") and MANIFEST not in name
    )
    store.replace(victim, b"other bytes")
    assert not objects.bring(address, tmp_path / "back", said.append)
    assert said[-1] == f"not copied: {address}/{victim} does not match the manifest's sha256"
    assert steps_in(tmp_path / "back" / "snapshots") == {4}

    save(run, 6)
    next(file for file in run.snapshot(6).iterdir() if file.name != MANIFEST).write_bytes(b"damaged")
    assert not objects.copy(run.path, address, said.append)
    assert f"snapshots/step-00000006/{MANIFEST}" not in store.sizes()


def test_another_run_and_foreign_objects_are_left(run: RunDir, make_paper_run: RunMaker, address: str) -> None:
    Store(address).replace("thesis.txt", b"mine")
    with pytest.raises(RunFolderError, match="not empty and holds no copy of this run"):
        Uploading(run, address)
    Store(address).replace(MARK, b"another")
    with pytest.raises(RunFolderError, match="holds another run"):
        Uploading(run, address)


def test_the_command_takes_addresses_and_names_what_is_missing(run: RunDir, tmp_path: Path) -> None:
    to = f"file://{tmp_path}/there"
    assert CliRunner().invoke(app, ["copy", str(run.path), to]).exit_code == 0
    assert CliRunner().invoke(app, ["copy", to, str(tmp_path / "back")]).exit_code == 0
    assert check(RunDir(tmp_path / "back")) == []
    for wrong, words in {"s3://bucket/run": "pip install s3fs", "zz://x": "Protocol not known"}.items():
        refused = CliRunner().invoke(app, ["copy", str(run.path), wrong])
        assert refused.exit_code == 2
        assert words in refused.stderr


def test_a_listing_that_lags_behind_loses_nothing_and_is_made_up_for(
    run: RunDir, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what was there one look ago: what was just written is missing, what was just removed is there."""
    real, before = Store.sizes, list[dict[str, int]]()

    def lagging(store: Store) -> dict[str, int]:
        now = real(store)
        before.append(now)
        return before[-2] if len(before) > 1 else {}

    keeping = Uploading(run, address)
    monkeypatch.setattr(Store, "sizes", lagging)
    keeping.once()
    save(run, 4)
    keeping.once()
    remove(run.staging, run.snapshot(2))
    for _ in range(3):
        assert keeping.once().damaged == []
    monkeypatch.setattr(Store, "sizes", real)
    assert not any(name.startswith("snapshots/step-00000002/") for name in Store(address).sizes())
    back = RunDir(tmp_path / "back")
    assert objects.bring(address, back.path, lambda text: None)
    assert steps_in(back.snapshots) == {4}
    verify(back.snapshot(4))
