"""A LoRA of another program becomes a snapshot of a run: links to its files, and a manifest with their digests.

Nothing is written where they lie, not even a further name of a file: ai-toolkit deletes the oldest by the time of their
last change, which a hard link renews.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from shared.files.publication import publish, read_manifest, remove, sha256
from shared.launch.task import Say
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.foreign.files.found import Found
from tasks.text_to_image.foreign.files.training_facts import training_facts

LABEL = "file"
"""The detail of a manifest that says where in the folder the LoRA lies."""
GUESSED = {"number": "guessed"}
"""Of a LoRA of which nothing tells after how many steps it was saved."""
END_BYTES = 4096


def same(one: Found, other: Found) -> bool:
    """Whether both have the same bytes."""
    if [size for size, _ in one.state] != [size for size, _ in other.state]:
        return False
    try:
        return _ends(one) == _ends(other) and digests(one) == digests(other)
    except OSError:
        return False


@lru_cache(maxsize=1000)
def _ends(found: Found) -> tuple[bytes, ...]:
    """The first and last bytes of each file. The LoRAs of a training have one size, and differ there already."""
    return tuple(part for file in found.files for part in _ends_of(file))


def _ends_of(path: Path) -> tuple[bytes, bytes]:
    with path.open("rb") as file:
        first = file.read(END_BYTES)
        file.seek(max(0, file.seek(0, 2) - END_BYTES))
        return first, file.read(END_BYTES)


@lru_cache(maxsize=1000)
def digests(found: Found) -> tuple[str, ...]:
    """sha256 of each file; read once while they do not change.

    Raises:
        OSError: one of them cannot be read.
    """
    return tuple(map(sha256, found.files))


def twin(run: RunDir, found: Found) -> int | None:
    """The snapshot that was made of the same bytes, whether or not its file is still there."""
    sizes = sorted(size for size, _ in found.state)
    for step, manifest in run.published_snapshots().items():
        if sizes == sorted(entry.size for entry in manifest.files):
            try:
                if sorted(digests(found)) == sorted(entry.sha256 for entry in manifest.files):
                    return step
            except OSError:
                return None
    return None


def take(run: RunDir, found: Found, step: int, say: Say, *, is_guessed: bool = False) -> bool:
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
    details |= training_facts(found.place) | (GUESSED if is_guessed else {})
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
    try:
        return sorted(entry.sha256 for entry in manifest.files) != sorted(digests(found))
    except OSError:  # it has gone meanwhile
        return False


def is_a_guess(run: RunDir, step: int) -> bool:
    """Whether nothing told the step of a snapshot when it was taken."""
    manifest = read_manifest(run.snapshot(step))
    return manifest is not None and manifest.details.items() >= GUESSED.items()


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
