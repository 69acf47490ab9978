"""The folder of a sweep: made, or the one that goes on; nothing is written when anything is wrong."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import tomlkit
from filelock import FileLock, Timeout

from shared.config.loading import read_toml
from shared.errors import ConfigError, RunFolderError, writing
from shared.files.publication import fsync
from shared.sweeps import study
from shared.sweeps.sweep_dir import SweepDir
from shared.sweeps.sweep_file import OTHER_LINES, Sweep

MAY_CHANGE = ("sweep.num_trials", "sweep.finalists", "sweep.seeds", "sweep.prune", "sweep.min_snapshots", "resources")
"""Of a sweep that goes on: what a trial is stays the same."""


@contextmanager
def opened(sweep: Sweep, held_out: Callable[[], Sequence[str]]) -> Generator[SweepDir]:
    """The folder, held by this process alone. held_out: asked for a new sweep only; checks the data and the model.

    Raises:
        ConfigError: it is the folder of another sweep file, or of none.
        RunFolderError: another sweep works in it.
        DataError, ModelError: data or base model cannot be used.
    """
    folder = SweepDir(sweep.folder)
    if not folder.path.exists():
        _create(folder, sweep, held_out())
    lock = FileLock(folder.lock, timeout=0)
    if problems := changes(folder, sweep):
        cure = f"give it another sweep.name, or move {folder.path} away"
        raise ConfigError(OTHER_LINES.join(problems), cure)
    try:
        lock.acquire()
    except Timeout:
        raise RunFolderError(
            f"{folder.path} is in use: another `run.py sweep` of this name is at work",
            "wait for it or stop it with Ctrl-C, or give this one another sweep.name",
        ) from None
    try:
        yield folder
    finally:
        lock.release()


def changes(folder: SweepDir, sweep: Sweep) -> list[str]:
    """Why a sweep cannot go on in a folder; empty where it can."""
    if not folder.file.is_file() or not folder.journal.is_file() or not folder.base.is_file():
        return [f"{folder.path} exists and is no sweep"]
    before, given = _flat(read_toml(folder.file)), _flat(tomlkit.parse(sweep.text.decode("utf-8-sig")).unwrap())
    was, given_base = _flat(read_toml(folder.base)), _flat(sweep.base())
    here = {key for key in before | given if not key.startswith((*MAY_CHANGE, "settings", "base", "sweep.base"))}
    found = [_change(key, before.get(key), given.get(key)) for key in sorted(here) if before.get(key) != given.get(key)]
    base = sorted(key for key in was | given_base if was.get(key) != given_base.get(key))
    found += [_change(key, was.get(key), given_base.get(key)) for key in base]
    return [f"{folder.path} was begun with other settings: {text}" for text in found]


def _change(key: str, before: object, given: object) -> str:
    return f"{key} was {_spelled(before)}, is {_spelled(given)}"


def _spelled(value: object) -> str:
    return "not given" if value is None else repr(value)


def _flat(tree: dict[str, object], path: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in tree.items():
        place = f"{path}.{key}" if path else key
        if isinstance(value, dict) and value:
            found |= _flat(value, place)  # pyright: ignore[reportUnknownArgumentType]
        else:
            found[place] = value
    return found


def _create(folder: SweepDir, sweep: Sweep, held_out: Sequence[str]) -> None:
    """In one rename."""
    target = folder.path
    stage = SweepDir(target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}")
    with writing("sweep.output_dir", target.parent):
        stage.path.mkdir(parents=True)
    try:
        stage.file.write_bytes(sweep.text)
        stage.base.write_text(tomlkit.dumps(sweep.base()), encoding="utf-8")
        study.create(stage.journal, held_out)
        stage.path.rename(target)
    finally:
        shutil.rmtree(stage.path, ignore_errors=True)
    fsync(target.parent)
