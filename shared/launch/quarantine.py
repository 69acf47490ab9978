"""`run.py check --repair`: what is damaged is moved into `quarantine/` of the run folder; nothing is deleted.

Results are then evaluated again, and training goes on from the checkpoint before. What only a person can replace stays
where it is: the references, the only checkpoint that there is, and what another trainer's files have become.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import get_args

from filelock import FileLock

from shared.errors import NewerFileError, RunFolderError
from shared.files.publication import verify
from shared.files.replacing import replace_file
from shared.launch.integrity import left_by_the_dead, published_folders, torn_tables
from shared.run_folder import checkpoints
from shared.run_folder.heartbeat import vacant
from shared.run_folder.records.process_status import Role
from shared.run_folder.run_dir import STEP_FOLDER, RunDir, free_name
from shared.run_folder.sharing.leases import dead_claims
from shared.run_folder.tables import prune, whole_lines

AT_WORK: tuple[Role, ...] = tuple(role for role in get_args(Role) if role not in ("dashboard", "tracker"))
"""Who writes what is repaired."""


@dataclass(frozen=True)
class Moved:
    """Something that was moved into quarantine."""

    path: str
    """Where it was in the run folder."""
    to: str
    """Where it is by now, likewise."""
    reason: str
    follows: str
    """What that means for the run."""

    def __str__(self) -> str:
        return f"moved {self.path} to {self.to}: {self.reason}; {self.follows}"


def repair(run: RunDir) -> list[Moved]:
    """Move everything damaged away; says what, and what follows.

    Raises:
        RunFolderError: a program is at work in the run.
    """
    with contextlib.ExitStack() as stack:
        for role in AT_WORK:
            stack.enter_context(vacant(run, role))
        repairing = _Repair(run)
        return [*repairing.folders(), *repairing.torn(), *repairing.leftovers()]


@dataclass
class _Repair:
    run: RunDir

    @cached_property
    def place(self) -> Path:
        """A folder of this repair, made when something is moved."""
        quarantine = self.run.path / "quarantine"
        return quarantine / free_name(quarantine, f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}")

    def folders(self) -> Iterator[Moved]:
        """What does not match its manifest."""
        is_imported = self.run.read_record().imported is not None
        for folder in list(published_folders(self.run)):
            if is_imported and folder.parent == self.run.snapshots:
                continue  # links to another trainer's files: restored there, they are whole again
            try:
                verify(folder)
            except NewerFileError:
                continue
            except RunFolderError as error:
                if folder.parent != self.run.checkpoints or self._may_go(folder):
                    yield self._move(folder, str(error), lambda folder=folder: self._follows(folder))

    def torn(self) -> Iterator[Moved]:
        """Half lines at the end of tables."""
        for path in list(torn_tables(self.run)):
            whole, data = whole_lines(path), path.read_bytes()
            to = self.place / f"{path.name}.torn"
            to.parent.mkdir(parents=True, exist_ok=True)
            replace_file(to, data[len(whole) :])
            replace_file(path, whole)
            yield Moved(f"the end of {path.name}", self._name(to), "half a line", "the rows before it stay")

    def leftovers(self) -> Iterator[Moved]:
        """What the dead were writing, and their claims."""
        for path in list(left_by_the_dead(self.run)):
            yield self._move(path, "left by a process that has exited", lambda: "nothing needs it")
        for path in dead_claims(self.run):
            follows = "what it was for is free to be evaluated"
            yield self._move(path, "the claim of a process that has exited", lambda follows=follows: follows)

    def _move(self, path: Path, reason: str, follows: Callable[[], str]) -> Moved:
        name, to = self._name(path), self.place / path.relative_to(self.run.path)
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)
        return Moved(name, self._name(to), reason, follows())

    def _may_go(self, checkpoint: Path) -> bool:
        """Without any checkpoint the run would begin at step 1, which only a person may decide."""
        return checkpoints.newest_whole(self.run) is not None

    def _follows(self, folder: Path) -> str:
        run = self.run
        if folder.parent == run.checkpoints:
            return f"training resumes from the checkpoint of step {checkpoints.newest_whole(run)}"
        if folder.parent == run.snapshots:
            return f"its results stay; its weights are lost unless you restore {folder} from a copy"
        if folder.is_relative_to(run.requested):
            return "ask for its pictures again"
        if folder.parent == run.evaluations:
            self._drop_row(folder)
        match = STEP_FOLDER.fullmatch(folder.name)
        if match and run.read_deleted(int(match[1])):
            return f"its weights were deleted (train.snapshots_total_limit): restore {folder} from a copy"
        return f"`python run.py evaluate {run.path}` makes it again"

    def _drop_row(self, folder: Path) -> None:
        """The tables are derived from results: a row without one is none."""
        match = STEP_FOLDER.fullmatch(folder.name)
        with FileLock(self.run.metrics_lock):
            for table in (self.run.metrics_csv, self.run.averages_csv):
                prune(table, lambda row: match is None or int(row["step"]) != int(match[1]))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.run.path).as_posix()
