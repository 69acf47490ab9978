"""Publication: a name means a whole folder; the first publisher wins; the dead's litter goes, the living's stays."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import RunFolderError
from shared.files import publication
from shared.files.publication import publish, read_manifest, remove, sweep, verify
from shared.run_folder.records.manifest import Manifest


class Place:
    """A staging folder and a target."""

    def __init__(self, folder: Path) -> None:
        self.staging, self.target = folder / ".staging", folder / "snapshots" / "step-00000001"
        self.target.parent.mkdir()

    def publish(self, text: str = "weights", write: Callable[[Path], None] | None = None) -> bool:
        def default(folder: Path) -> None:
            (folder / "a.bin").write_text(text)
            (folder / "images").mkdir()
            (folder / "images" / "b.bin").write_text(text * 2)

        return publish(self.staging, self.target, Manifest(kind="snapshot", run_id="r", step=1), write or default)


def write_many(folder: Path, number: int) -> None:
    for one in range(number):
        (folder / f"{one:02}.bin").write_text("x")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_published_folder_lists_and_proves_every_file(place: Place) -> None:
    assert place.publish()
    manifest = verify(place.target)
    assert [(entry.name, entry.size) for entry in manifest.files] == [("a.bin", 7), ("images/b.bin", 14)]
    assert (manifest.run_id, manifest.step, manifest.kind) == ("r", 1, "snapshot")
    assert list(place.staging.iterdir()) == []


def test_the_name_does_not_exist_while_the_folder_is_filled(place: Place) -> None:
    seen: list[bool] = []

    def write(folder: Path) -> None:
        (folder / "a.bin").write_text("x")
        seen.append(place.target.exists())

    place.publish(write=write)
    assert seen == [False]


def test_an_error_while_writing_leaves_neither_name_nor_litter(place: Place) -> None:
    def write(folder: Path) -> None:
        (folder / "a.bin").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        place.publish(write=write)
    assert not place.target.exists()
    assert list(place.staging.iterdir()) == []


def test_the_first_publisher_wins_and_the_second_changes_nothing(place: Place) -> None:
    assert place.publish("first")
    assert not place.publish("second")
    assert (place.target / "a.bin").read_text() == "first"
    assert list(place.staging.iterdir()) == []
    verify(place.target)


def test_files_are_durable_before_the_manifest_and_the_name_after_both(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real_fsync, real_rename = publication.fsync, Path.rename

    def fsync(path: Path) -> None:
        order.append(f"fsync {path.name}")
        real_fsync(path)

    def rename(path: Path, target: Path) -> Path:
        order.append(f"rename to {target.name}")
        return real_rename(path, target)

    monkeypatch.setattr(publication, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    place.publish()
    stage = next(line for line in order if line.startswith(f"fsync {socket.gethostname()}-"))
    assert [line for line in order if line != "fsync images"] == [
        "fsync a.bin",
        "fsync b.bin",
        "fsync manifest.json",
        stage,
        "rename to step-00000001",
        "fsync snapshots",
    ]
    assert order.index("fsync images") < order.index("fsync manifest.json")


def test_many_files_are_flushed_at_the_same_time_and_all_before_the_manifest(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    two = threading.Barrier(2, timeout=10)

    def fsync(path: Path) -> None:
        if path.suffix == ".bin":
            two.wait()
        flushed.append(path.name)

    number = 2 * (publication.FEW + 1)
    monkeypatch.setattr(publication, "fsync", fsync)
    assert place.publish(write=lambda folder: write_many(folder, number))
    assert len(set(flushed[:number])) == number
    assert flushed.index("manifest.json") == number


def test_a_file_that_cannot_be_flushed_is_not_published(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(path: Path) -> None:
        if path.name == "05.bin":
            raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(publication, "fsync", fsync)
    with pytest.raises(OSError, match="broken"):
        place.publish(write=lambda folder: write_many(folder, publication.FEW + 1))
    assert not place.target.exists()
    assert list(place.staging.iterdir()) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_published_files_have_the_mode_the_umask_asks_for(place: Place, umask: int, mode: int) -> None:
    def write(folder: Path) -> None:
        (folder / "a.bin").write_text("x")
        (folder / "a.bin").chmod(0o600)  # as safetensors leaves its files

    before = os.umask(umask)
    try:
        place.publish(write=write)
    finally:
        os.umask(before)
    assert (place.target / "a.bin").stat().st_mode & 0o777 == mode
    assert (place.target / "manifest.json").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda folder: (folder / "a.bin").unlink(), "a.bin is missing"),
        (lambda folder: (folder / "a.bin").write_text("weight"), "a.bin has 6 bytes, the manifest says 7"),
        (lambda folder: (folder / "a.bin").write_text("weightz"), "a.bin does not match the manifest's sha256"),
        (lambda folder: (folder / "images" / "b.bin").write_text("x" * 14), "b.bin does not match"),
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
        (lambda folder: (folder / "manifest.json").write_bytes(b""), "manifest.json is not a record"),
    ],
)
def test_verify_names_the_damaged_file(place: Place, damage: Callable[[Path], object], complaint: str) -> None:
    place.publish()
    damage(place.target)
    with pytest.raises(RunFolderError, match=complaint):
        verify(place.target)


def test_a_folder_without_manifest_does_not_count(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    assert read_manifest(tmp_path / "nowhere") is None


def test_remove_takes_the_name_away_first(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.publish()
    gone_before_deleting: list[bool] = []
    real = publication.shutil.rmtree

    def rmtree(path: Path, **options: bool) -> None:
        gone_before_deleting.append(not place.target.exists())
        real(path, **options)

    monkeypatch.setattr(publication.shutil, "rmtree", rmtree)
    remove(place.staging, place.target)
    assert gone_before_deleting == [True]
    assert not place.target.exists()
    assert list(place.staging.iterdir()) == []


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_sweep_removes_what_the_dead_left_and_nothing_else(tmp_path: Path) -> None:
    host, dead = socket.gethostname(), dead_pid()
    litter = tmp_path / f"{host}-{dead}-0123abcd"
    others = [
        tmp_path / f"{host}-{os.getpid()}-0123abcd",
        tmp_path / f"elsewhere-{dead}-0123abcd",
        tmp_path / f"{host}-{dead}-{os.getpid()}-0123abcd",  # of a host whose name begins with ours
        tmp_path / "notes",
    ]
    for folder in (litter, *others):
        folder.mkdir()
        (folder / "half").write_text("x")
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_sweep_of_a_staging_folder_that_is_not_there_does_nothing(tmp_path: Path) -> None:
    sweep(tmp_path / "nowhere")
