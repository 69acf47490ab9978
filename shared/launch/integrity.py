"""Is a run folder whole? The invariants that hold whatever was killed, and what is said when one does not.

`check` reads only. It may be asked while a run is at work; then work under way counts as pending, not as a fault.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shared.errors import DarkroomError, RunFolderError
from shared.files.json_text import parse_json
from shared.files.publication import owner_lives, sha256, verify
from shared.launch.relocation import DATA_KEYS, new_place
from shared.launch.task import Task
from shared.run_folder.heartbeat import is_alive, read_status, someone_serves
from shared.run_folder.run_dir import RunDir, step_name, steps_in
from shared.run_folder.sharing.leases import dead_claims
from shared.run_folder.tables import DATA_COLUMNS, EXAMPLE_COLUMNS, TRAIN_COLUMNS, read_rows, whole_lines
from shared.run_folder.votes import pictures_of, read_votes

Problems = Iterator[str]

REPLACING_SECONDS = 600.0
"""A file that is written to replace another one lives for less, also on a slow disk."""

NUM_LEADING = 8
"""The columns of metrics.csv that are the same in every version."""


@dataclass(frozen=True)
class Problem:
    """One broken invariant."""

    invariant: str
    """Its name, such as `tables`."""
    text: str
    """What is wrong, and the cure where there is one."""

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text}"


def check(run: RunDir, task: Task) -> list[Problem]:
    """Every broken invariant; empty: the folder is whole."""
    checks = {name: find(run) for name, find in INVARIANTS.items()}
    checks["models"] = _models(run, task)
    checks["data set"] = _data_set(run, task)
    return [Problem(name, text) for name, texts in checks.items() for text in texts]


def notes(run: RunDir, task: Task) -> list[str]:
    """What the run needs and is not here, with the cure; a folder is whole without it."""
    absent = task.missing_paths(run, run.read_config())
    return [f"{sentence}; {new_place(run, key)}" for key, sentence in absent.items()]


def published_folders(run: RunDir) -> Iterator[Path]:
    """Everything that is published under the number of a step, for a request too."""
    strengths = sorted(run.strengths.glob("*"))
    for parent in (run.snapshots, run.averages, run.checkpoints, run.evaluations, run.confirmations, *strengths):
        for step in sorted(steps_in(parent)):
            yield parent / step_name(step)
    yield from sorted(run.requested.glob("*/step-*"))


def torn_tables(run: RunDir) -> Iterator[Path]:
    """Tables that end in half a line."""
    for path in _tables_of(run):
        if path.exists() and len(whole_lines(path)) != path.stat().st_size:
            yield path


def left_by_the_dead(run: RunDir) -> Iterator[Path]:
    """Folders that were being filled, and files that were being replaced, by a process that has exited."""
    yield from (stage for stage in sorted(run.staging.glob("*")) if not owner_lives(stage))
    for folder in (run.path, run.control, run.processes, run.votes, run.claims):
        for path in sorted(folder.glob(".*.tmp")):  # see `replace_file`
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > REPLACING_SECONDS:
                    yield path


def _tables_of(run: RunDir) -> tuple[Path, ...]:
    return run.dataset_csv, run.train_csv, run.validation_csv, run.validation_examples_csv, run.metrics_csv


def _published_folders(run: RunDir) -> Problems:
    """Everything published matches its manifest."""
    for folder in published_folders(run):
        yield from _trouble(partial(verify, folder))
    for references in (run.references, run.further_references):
        if references.exists():
            yield from _trouble(partial(verify, references))
    if not run.read_record().imported:  # what another trainer left damaged has a failed result that says so
        for step in sorted(steps_in(run.snapshots)):
            yield from _safetensors_headers(run.snapshot(step))


def _results(run: RunDir) -> Problems:
    """Each result can be read, is final, and stands in metrics.csv once."""
    steps = [int(row["step"]) for table in (run.metrics_csv, run.averages_csv) for row in read_rows(table)]
    evaluated = steps_in(run.evaluations)
    for step in sorted(evaluated):
        yield from _trouble(partial(run.read_result, step))
        if steps.count(step) != 1 and not someone_serves(run, "evaluator"):
            yield f"step {step} stands {steps.count(step)} times in metrics.csv"
    yield from (f"step {step} of metrics.csv has no result" for step in steps if step not in evaluated)
    for step in sorted(steps_in(run.confirmations)):
        yield from _trouble(partial(run.read_result, step, "confirmations"))


def _training_rows(run: RunDir) -> Problems:
    """train.csv counts every step from where the run began, once, and no checkpoint lies beyond it."""
    steps = [int(row["step"]) for row in read_rows(run.train_csv)]
    origin = run.read_record().origin
    before = origin.step if origin else 0
    last = before + len(steps)
    if steps != list(range(before + 1, last + 1)):
        yield f"train.csv does not count from {before + 1} to {last}"
    beyond = [step for step in steps_in(run.checkpoints) if step > last]
    yield from (f"checkpoint {step} lies beyond the last row of train.csv ({last})" for step in sorted(beyond))


def _validation_rows(run: RunDir) -> Problems:
    """Steps of validation.csv ascend, and training has come so far."""
    steps = [int(row["step"]) for row in read_rows(run.validation_csv)]
    if steps != sorted(set(steps)):
        yield "the steps of validation.csv do not ascend"
    trained = max((int(row["step"]) for row in read_rows(run.train_csv)), default=0)
    yield from (
        f"step {step} of validation.csv lies beyond the last row of train.csv" for step in steps if step > trained
    )


def _tables(run: RunDir) -> Problems:
    """Each table has its header and nothing after its last newline."""
    for path in _tables_of(run):
        if path.exists() and not _is_header(run, path, tuple(_first_line(path).split(","))):
            yield f"{path.name} does not begin with its header"
    if not is_alive(read_status(run, "trainer")):
        yield from (f"{path.name} ends in a torn line; resuming the run mends it" for path in torn_tables(run))


def _first_line(path: Path) -> str:
    return whole_lines(path).partition(b"\n")[0].decode()


def _is_header(run: RunDir, path: Path, columns: tuple[str, ...]) -> bool:
    """Whether a table may begin with these columns."""
    if path == run.dataset_csv:
        return columns == DATA_COLUMNS
    if path == run.train_csv:
        return columns == TRAIN_COLUMNS
    if path == run.validation_csv:
        return columns[0] == "step"  # the others are the task's
    if path == run.validation_examples_csv:
        return columns == EXAMPLE_COLUMNS
    header = run.read_metric_descriptions().header  # an earlier version may have written fewer
    return columns[:NUM_LEADING] == header[:NUM_LEADING] and columns == tuple(c for c in header if c in columns)


def _leftovers(run: RunDir) -> Problems:
    """Nothing half-written and no claim of the dead."""
    for path in left_by_the_dead(run):
        cure = "the next start" if path.parent == run.staging else f"`python run.py check {run.path} --repair`"
        name = path.relative_to(run.path).as_posix()
        yield f"{name} was left by a process that has exited; {cure} removes it"
    yield from (
        f"the claim {path.relative_to(run.path).as_posix()} was left by a process that has exited; "
        f"`python run.py evaluate {run.path}` removes it"
        for path in dead_claims(run)
    )


def _votes(run: RunDir) -> Problems:
    """Each line of the votes' files is a vote on pictures of this run."""
    results = ((step, run.read_result(step)) for step in steps_in(run.evaluations)) if run.votes.is_dir() else ()
    try:
        drawn = pictures_of({step: result.samples for step, result in results if result})
    except RunFolderError:  # told among the results
        drawn = None
    yield from read_votes(run, drawn).problems


def _data_set(run: RunDir, task: Task) -> Problems:
    """The data, where it is here, is what the run began with."""
    config = run.read_config()
    if not task.missing_paths(run, config).keys() & set(DATA_KEYS):
        yield from _trouble(partial(task.require_same_data, run, config))


def _models(run: RunDir, task: Task) -> Problems:
    """What the run began from, where it is here, is what it was."""
    try:
        yield from task.changed_content(run, run.read_config(), sha256)
    except (DarkroomError, OSError) as error:
        yield str(error)


INVARIANTS: dict[str, Callable[[RunDir], Problems]] = {
    "published folders": _published_folders,
    "results": _results,
    "training rows": _training_rows,
    "validation rows": _validation_rows,
    "tables": _tables,
    "votes": _votes,
    "leftovers": _leftovers,
}


def _trouble(read: Callable[[], object]) -> Problems:
    try:
        read()
    except (DarkroomError, OSError) as error:
        yield str(error)


def _safetensors_headers(folder: Path) -> Problems:
    """The header of each file must parse; its length comes first, 8 bytes, little-endian."""
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            try:
                parse_json(file.read(min(length, path.stat().st_size)))
            except ValueError:
                yield f"{path} has no safetensors header"
