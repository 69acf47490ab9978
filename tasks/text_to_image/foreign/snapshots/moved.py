"""The files of a run lie in another folder by now: they are known again by size and digest, and linked to there."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

from shared.files.publication import MANIFEST, read_manifest, remove, replace_link
from shared.run_folder.heartbeat import vacant
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.foreign.files.found import Contents, Found
from tasks.text_to_image.foreign.snapshots.taking import LABEL, digests


@dataclass(frozen=True)
class Moved:
    """What lies in another folder of what a run was made of."""

    same: dict[int, Found] = field(default_factory=dict[int, Found])
    """By step."""
    changed: tuple[str, ...] = ()
    """Labels of files that lie there with another content."""
    absent: tuple[str, ...] = ()
    """Labels of files that do not lie there."""


def find(run: RunDir, contents: Contents) -> Moved:
    """Look for the files of every snapshot: under the same name first, then under any."""
    by_label = {one.label: one for one in contents.loras}
    same, changed, absent = dict[int, Found](), list[str](), list[str]()
    for step, manifest in run.published_snapshots().items():
        label = str(manifest.details.get(LABEL, ""))
        first = [by_label[label]] if label in by_label else []
        others = [one for one in contents.loras if one.label != label]
        found = next((one for one in (*first, *others) if _has(one, manifest)), None)
        if found:
            same[step] = found
        else:
            (changed if first else absent).append(label)
    return Moved(same, tuple(changed), tuple(absent))


def link_again(run: RunDir, moved: Moved) -> None:
    """Let the snapshots link to the files where they lie by now; what failed since they were moved is tried again.

    Raises:
        RunFolderError: a program is at work in the run; nothing has changed.
    """
    with ExitStack() as stack:
        for role in ("importer", "evaluator"):
            stack.enter_context(vacant(run, role))
        for step, found in moved.same.items():
            relink(run, step, found)


def relink(run: RunDir, step: int, found: Found) -> None:
    """Let a snapshot link to files of the same content; a result that failed because they were lost is removed."""
    folder = run.snapshot(step)
    manifest = read_manifest(folder)
    assert manifest
    places = dict(zip(digests(found), found.files, strict=True))
    was_lost = False
    for entry in manifest.files:
        link = folder / entry.name
        if link.is_symlink():
            was_lost = was_lost or not link.exists()
            replace_link(run.staging, link, places[entry.sha256].resolve())
    times = dict(zip(digests(found), (changed for _, changed in found.state), strict=True))
    files = tuple(
        entry.model_copy(update={"mtime_ns": times[entry.sha256]}) if (folder / entry.name).is_symlink() else entry
        for entry in manifest.files
    )
    noted = manifest.model_copy(update={"details": {**manifest.details, LABEL: found.label}, "files": files})
    if noted != manifest:
        noted.write(folder / MANIFEST)
    result = run.read_result(step)
    if was_lost and result and result.status != "ok":
        remove(run.staging, run.evaluation(step))


def _has(one: Found, manifest: Manifest) -> bool:
    """Whether it is what the manifest describes."""
    if sorted(size for size, _ in one.state) != sorted(entry.size for entry in manifest.files):
        return False
    try:
        return sorted(digests(one)) == sorted(entry.sha256 for entry in manifest.files)
    except OSError:
        return False
