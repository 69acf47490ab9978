"""A LoRA of another program becomes a snapshot of a run: links to its files, and a manifest with their digests.

Nothing is written where they lie, not even a further name of a file: ai-toolkit deletes the oldest by the time of their
last change, which a hard link renews.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from shared.files.publication import publish, read_manifest, remove, sha256
from shared.launch.task import Say
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.foreign.found import Found

LABEL = "file"
"""The detail of a manifest that says where in the folder the LoRA lies."""


def same(one: Found, other: Found) -> bool:
    """Whether both have the same bytes."""
    sizes = [[size for size, _ in found.state] for found in (one, other)]
    if sizes[0] != sizes[1]:
        return False
    try:
        return all(sha256(first) == sha256(second) for first, second in zip(one.files, other.files, strict=True))
    except OSError:
        return False


def take(run: RunDir, found: Found, step: int, say: Say) -> bool:
    """Publish a LoRA as the snapshot of a step; False: it has gone meanwhile. say: told where links are impossible."""
    record = run.read_record()
    assert record.imported
    place = _copy if record.imported.copies else _linking(say)
    root = found.place.parent if found.place.is_file() else found.place

    def write(folder: Path) -> None:
        for file in found.files:
            target = folder / file.relative_to(root)
            target.parent.mkdir(exist_ok=True)
            place(file.resolve(), target)

    details = {"epoch": found.name.epoch or found.facts.epoch, LABEL: found.label, "trainer": found.facts.trainer}
    manifest = Manifest(kind="snapshot", run_id=record.run_id, step=step, details=details)
    try:
        publish(run.staging, run.snapshot(step), manifest, write)
    except FileNotFoundError:
        return False
    return True


def taken(run: RunDir) -> dict[int, str]:
    """Step → where in the folder its LoRA lies, of those that are in the run."""
    return {step: str(manifest.details.get(LABEL, "")) for step, manifest in run.published_snapshots().items()}


def changed(run: RunDir, found: Found, step: int) -> bool:
    """Whether a LoRA is no longer what the snapshot of this step was made of."""
    manifest = read_manifest(run.snapshot(step))
    if manifest is None:
        return False
    sizes = sorted(entry.size for entry in manifest.files)
    if sizes != sorted(size for size, _ in found.state):
        return True
    return sorted(entry.sha256 for entry in manifest.files) != sorted(sha256(file) for file in found.files)


def give_up(run: RunDir, step: int) -> None:
    """Remove a snapshot and its failed result, so that its file, which is another now, can be taken again."""
    for folder in (run.evaluation(step), run.snapshot(step)):
        if folder.exists():
            remove(run.staging, folder)


def _linking(say: Say) -> Callable[[Path, Path], object]:
    def link(file: Path, target: Path) -> None:
        try:
            target.symlink_to(file)
        except OSError as error:
            say(f"{target.name} is copied: {error.strerror}, so it cannot be linked here")
            _copy(file, target)

    return link


def _copy(file: Path, target: Path) -> None:
    shutil.copyfile(file, target)
