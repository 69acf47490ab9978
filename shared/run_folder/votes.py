"""The votes of a run: `votes/<voter>.jsonl`, one file for each voter, lines are only ever added.

The dashboard writes them. A line has the id of the pair as it was shown, so that a line that is sent twice, or from two
tabs, counts once. A torn last line means "not yet". A line that cannot be read, or speaks of pictures that the run does
not have, is told as a problem and counts for nothing; all others count.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from shared.config.problems import NOISE_OF_RULES
from shared.errors import RunFolderError
from shared.files.regular import BINARY, leads_out
from shared.files.replacing import replace_file
from shared.run_folder.averages import label
from shared.run_folder.phrase import in_unit
from shared.run_folder.records.evaluation_result import Sample
from shared.run_folder.records.record import SCHEMA_MAJOR
from shared.run_folder.records.run_record import RunRecord
from shared.run_folder.records.vote import Vote
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import whole_lines

LOCK_SECONDS = 5
MAX_LINE_BYTES = 20_000
TORN_SECONDS = 10.0
"""After so long without its end, nobody is writing a line any more."""
NO_VOTE = "it is not a vote of Darkroom"
DELETE = "delete this line"

Drawn = Mapping[int, Collection[tuple[str, int]]]
"""Step → (prompt id, seed) of every picture that it drew."""


@dataclass(frozen=True)
class Votes:
    """What people said of a run."""

    given: tuple[Vote, ...] = ()
    """Those that stand, oldest first: each pair once, skipped ones too, withdrawn ones not."""
    ids: frozenset[str] = frozenset()
    """Of every pair that was answered, withdrawn ones too."""
    problems: tuple[str, ...] = ()
    """A sentence with its cure for each line, or whole file, that does not count because something is wrong with it."""

    @property
    def telling(self) -> tuple[Vote, ...]:
        """Those that compare two steps."""
        return tuple(vote for vote in self.given if vote.says_something)

    def by(self, voter: str) -> tuple[Vote, ...]:
        """Those of one voter."""
        return tuple(vote for vote in self.given if vote.voter == voter)


def read_votes(run: RunDir, drawn: Drawn | None = None) -> Votes:
    """Every vote of a run. drawn: the pictures there are, to tell votes for others; None: not looked at."""
    record = run.read_record() if run.votes.is_dir() else None
    standing: dict[str, Vote] = {}
    withdrawn: set[str] = set()
    problems: list[str] = []
    for path in sorted(run.votes.glob("*.jsonl")):
        lines = [*_lines(run, path)]
        if lines and all(found == NO_VOTE for _, found in lines):
            name = path.relative_to(run.path).as_posix()
            problems.append(f"{name}: none of its lines is a vote of Darkroom; move this file out of {run.votes.name}/")
            continue
        for place, found in lines:
            vote = found if isinstance(found, Vote) else None
            problem = found if isinstance(found, str) else _problem(found, record, drawn)
            if vote is None or problem:
                problems.append(f"{place}: {problem}{f'; {DELETE}' if found == NO_VOTE else ''}")
            elif vote.answer == "withdrawn":
                withdrawn.add(vote.id)
            else:
                standing.setdefault(vote.id, vote)
    given = sorted((vote for vote in standing.values() if vote.id not in withdrawn), key=lambda vote: vote.created)
    return Votes(tuple(given), frozenset(standing) | withdrawn, tuple(problems))


def append_vote(run: RunDir, vote: Vote) -> bool:
    """Add a line to the voter's file; False: this pair was answered before, or withdrawn, and nothing is written.

    Raises:
        RunFolderError: the folder leads out of the run.
        OSError: the line cannot be written; a full disk may take a part of it, which is cut off again.
    """
    path = run.votes_of(vote.voter)
    if leads_out(path, run.path):
        raise RunFolderError(f"{path} leads out of the run folder", f"put the file itself at {path}")
    run.votes.mkdir(exist_ok=True)
    with FileLock(run.votes / ".lock", timeout=LOCK_SECONDS):
        known = [found for _, found in _lines(run, path) if isinstance(found, Vote) and found.id == vote.id]
        if any((found.answer == "withdrawn") >= (vote.answer == "withdrawn") for found in known):
            return False
        _append_line(path, vote.to_line())
    return True


def pictures_of(samples: Mapping[int, Collection[Sample]]) -> Drawn:
    """What can be voted on. samples: step → what it drew."""
    return {
        step: {(sample.prompt_id, sample.seed) for sample in drawn if sample.image} for step, drawn in samples.items()
    }


def missing_picture(vote: Vote, drawn: Drawn) -> str:
    """That a vote is for a picture which does not exist; empty if both do."""
    lacking = [step for step in vote.steps if (vote.prompt_id, vote.seed) not in drawn.get(step, ())]
    if not lacking:
        return ""
    what = f"picture of prompt {vote.prompt_id[:80]!r} with seed {vote.seed}"
    return f"there is no {what} at step {' and step '.join(map(label, lacking))}"


def _problem(vote: Vote, record: RunRecord | None, drawn: Drawn | None) -> str:
    if record is None or vote.run_id != record.run_id:
        return f"it is a vote on another run ({vote.run_id[:60]}); move it into that run's folder"
    missing = missing_picture(vote, drawn) if drawn is not None and vote.answer != "withdrawn" else ""
    return f"{in_unit(missing, record.unit)}; {DELETE}" if missing else ""


def _lines(run: RunDir, path: Path) -> Iterator[tuple[str, Vote | str]]:
    """Where each line stands, and its vote, or what is wrong with it."""
    name = path.relative_to(run.path).as_posix()
    try:
        if leads_out(path, run.path):
            raise RunFolderError("it leads out of the run folder", "put the file itself there")
        whole, facts = whole_lines(path), path.stat()
    except RunFolderError as error:
        yield name, f"{error}; {error.hint}"
        return
    except OSError as error:
        yield name, f"it cannot be read: {error.strerror}; mend it, or move {name} away"
        return
    for number, line in enumerate(whole.splitlines(), start=1):
        if line.strip():
            yield f"{name} line {number}", _read_line(line)
    if facts.st_size > len(whole) and time.time() - facts.st_mtime > TORN_SECONDS:
        yield name, f"its last line is cut off; {DELETE}, or vote again under this name"


def _read_line(line: bytes) -> Vote | str:
    if len(line) > MAX_LINE_BYTES:
        return NO_VOTE
    try:
        tree = json.loads(line)
        major = int(str(tree.get("schema", "1")).partition(".")[0])
    except (ValueError, AttributeError, RecursionError):
        return NO_VOTE
    if major > SCHEMA_MAJOR:
        return f"it has schema {tree['schema']}, this version reads {SCHEMA_MAJOR}: upgrade Darkroom"
    try:
        return Vote.model_validate(tree)
    except ValidationError as error:
        return f"{_told(error)}; {DELETE}"


def _told(error: ValidationError) -> str:
    """The first problem, in our words."""
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"it has no {name}"
    if first["type"] == "value_error":
        return first["msg"].removeprefix("Value error, ")
    rule = NOISE_OF_RULES.sub("", first["msg"]).replace("should", "must")
    return f"its {name} is {str(first['input'])[:60]!r}, {rule}"


def _append_line(path: Path, line: bytes) -> None:
    whole = whole_lines(path)
    if path.exists() and path.stat().st_size != len(whole):
        replace_file(path, whole)  # what was torn was never answered as written
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | BINARY, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if os.write(descriptor, line) < len(line):
            os.ftruncate(descriptor, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
