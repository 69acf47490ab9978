"""Everything that programs write into a run folder, killed at every boundary of its writing, until it gets through.

`drive` forks this process for each boundary: the child is killed before or after the n-th time that it makes, opens,
writes, flushes, renames or deletes a file or folder, and within each write, after half of the bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any

import torch

from dashboard.data import notes
from evaluator.evaluate import skip
from evaluator.results_table import ResultsTable
from evaluator.retention import delete
from shared.files.publication import sweep, verify
from shared.launch import setting_changes
from shared.run_folder import requests
from shared.run_folder.records.request import Answer, Request
from shared.run_folder.records.vote import Vote
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import TRAIN_COLUMNS, Appender, listed, read_rows
from shared.run_folder.votes import append_vote, read_votes
from tasks.text_to_image.lora import lora
from trainer.checkpoint import Checkpoint, newest
from trainer.publisher import Publisher

State = frozenset[object]


@dataclass(frozen=True)
class Subject:
    """One kind of write. `read` raises where anything is half-written."""

    write: Callable[[RunDir, int], object]
    read: Callable[[RunDir], State]
    adds: bool = True
    """What was there stays; else it is replaced."""

    def written(self, before: State, number: int) -> State:
        """What is there once the write of this number is done."""
        return (before if self.adds else frozenset()) | {number}


class Boundaries:
    """Counts the boundaries of this process's writes and kills it at one of them."""

    def __init__(self, wanted: int) -> None:
        self.count, self.wanted = 0, wanted

    def pass_one(self) -> None:
        self.count += 1
        if self.count == self.wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.pass_one()
            outcome = real(*arguments, **options)
            self.pass_one()
            return outcome

        return call

    def halved(self, real: Callable[..., int], flush: Callable[[], object] = lambda: None) -> Callable[..., int]:
        """A write that may end after half of its bytes."""

        def write(*arguments: Any) -> int:
            *to, data = arguments
            if self.count + 1 == self.wanted:
                real(*to, data[: len(data) // 2])
                flush()
            self.pass_one()
            return real(*arguments)

        return write

    def opened(self, real: Callable[..., IO[Any]]) -> Callable[..., IO[Any]]:
        def call(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> IO[Any]:
            if mode[:1] not in ("w", "a", "x"):
                return real(path, mode, *arguments, **options)
            file = self.around(real)(path, mode, *arguments, **options)
            return Opened(file, self.halved(file.write, file.flush))  # type: ignore[return-value]

        return call

    def install(self) -> None:
        """From now on."""
        for name in ("mkdir", "chmod", "rename", "replace", "unlink"):
            setattr(Path, name, self.around(getattr(Path, name)))
        Path.open = self.opened(Path.open)  # type: ignore[method-assign]
        os.write = self.halved(os.write)
        os.fsync, os.ftruncate = self.around(os.fsync), self.around(os.ftruncate)
        shutil.rmtree = self.around(shutil.rmtree)  # type: ignore[assignment]


class Opened:
    """A file whose `write` is another one."""

    def __init__(self, file: IO[Any], write: Callable[..., int]) -> None:
        self._file, self.write = file, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def drive(name: str, run: RunDir) -> int:
    """Kill the writes of a subject at boundary 1, 2 … until one gets through; returns how many were killed."""
    subject = SUBJECTS[name]
    for number in count(1):
        before = subject.read(run)
        if (pid := os.fork()) == 0:
            with contextlib.suppress(BaseException):
                Boundaries(number).install()
                subject.write(run, number)
                os._exit(0)
            os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        after = subject.read(run)
        assert after in (before, subject.written(before, number)), f"killed at boundary {number}: {before} → {after}"
        if code == 0:
            assert after == subject.written(before, number)
            return number - 1
        assert code == -signal.SIGKILL, f"boundary {number}: exit code {code}"
    raise AssertionError


def main(name: str, path: str) -> None:
    """What a program of the test executes."""
    sys.stdout.write(json.dumps({"killed": drive(name, RunDir(Path(path)))}))
    sys.stdout.flush()
    raise SystemExit(0)


def _requested(run: RunDir) -> State:
    found = [Request.read(path) for path in run.control.glob("evaluate-*[0-9a-f].json")]
    return frozenset(request.step for request in found)


def _answer(run: RunDir, number: int) -> None:
    request = Request(id="stop-mine", kind="stop", run_id=run.read_record().run_id, by="a test")
    requests.answer(run, request, "seen", number)


def _answered(run: RunDir) -> State:
    path = run.control / "stop-mine.answer.json"
    return frozenset({Answer.read(path).step} if path.exists() else ())


def _note(run: RunDir, number: int) -> None:
    seen = notes.read_notes(run).texts.get(7, "")
    notes.note(run, 7, f"{number} {'x' * 100}", seen)


def _noted(run: RunDir) -> State:
    return frozenset(int(text.split()[0]) for text in notes.read_notes(run).texts.values())


def _vote(run: RunDir, number: int) -> None:
    fields = {"prompt_id": "p", "seed": 1, "left": 20, "right": 40, "answer": "left", "seconds": 1.0}
    run_id = run.read_record().run_id
    assert append_vote(run, Vote.model_validate({**fields, "id": str(number), "run_id": run_id, "voter": "anna"}))


def _voted(run: RunDir) -> State:
    found = read_votes(run)
    assert found.problems == ()
    return frozenset(map(int, found.ids))


def _add_row(run: RunDir, number: int) -> None:
    Appender(run.train_csv, TRAIN_COLUMNS).append({"step": number, "loss": number * 21.5})


def _rows(run: RunDir) -> State:
    rows = read_rows(run.train_csv)
    assert all(float(row["loss"]) == int(row["step"]) * 21.5 for row in rows), "no number is cut"
    assert len({row["step"] for row in rows}) == len(rows)
    return frozenset(int(row["step"]) for row in rows)


def _change(run: RunDir, number: int) -> None:
    for _ in range(2):  # a second time, as a person does whose command was killed
        config = run.read_config()
        train = config.train.model_copy(update={"learning_rate": number * 1e-3})
        setting_changes.apply(run, config.model_copy(update={"train": train}), ["train.learning_rate"])


def _changed(run: RunDir) -> State:
    rate, changes = run.read_config().train.learning_rate, run.read_record().changes
    assert len(changes) == len(set(changes)), "nothing is recorded twice"
    return frozenset({round(rate / 1e-3)} if changes and rate >= 1e-3 else ())


def _weights(number: int) -> dict[str, torch.Tensor]:
    module = "unet.down_blocks.0.attentions.0.to_k"
    return {f"{module}.lora_A.weight": torch.full((2, 8), float(number)), f"{module}.lora_B.weight": torch.zeros(8, 2)}


def _snapshot(run: RunDir, number: int) -> None:
    sweep(run.staging)
    publisher, weights = Publisher(run, run.read_record().run_id, 2), _weights(number)
    metadata = {"unet.r": 2, "unet.lora_alpha": 4, "unet.target_modules": ["to_k"]}
    publisher.snapshot(number, weights, lambda folder: lora.write(folder, weights, metadata), {})
    publisher.close()


def _snapshots(run: RunDir) -> State:
    assert all(verify(run.snapshot(step)).step == step for step in steps_in(run.snapshots))
    return frozenset(steps_in(run.snapshots))


def _delete(run: RunDir, number: int) -> None:
    """A whole snapshot first, then the deletion of its weights; a name in `known` was published."""
    _snapshot(run, number)
    (run.path / f"known-{number}").touch()
    assert delete(run, number, 2)


def _deleted(run: RunDir) -> State:
    whole, gone = _snapshots(run), frozenset(run.deleted_snapshots())
    assert all((found := run.read_deleted(int(str(step)))) and found.snapshot.step == step for step in gone)
    known = {int(path.name.removeprefix("known-")) for path in run.path.glob("known-*")}
    assert known <= whole | gone, "whole, or gone with its reason"
    assert not whole & gone
    return gone


def _checkpoint(run: RunDir, number: int) -> None:
    sweep(run.staging)
    publisher = Publisher(run, run.read_record().run_id, 2)
    moments = {0: {"exp_avg": torch.zeros(3), "step": torch.tensor(float(number))}}
    publisher.checkpoint(Checkpoint(number, _weights(number), {"state": moments, "param_groups": []}, {}))
    publisher.close()


def _checkpoints(run: RunDir) -> State:
    def alarm(text: str) -> None:
        raise AssertionError(text)

    found = newest(run, alarm)
    assert all(verify(run.checkpoint(step)).step == step for step in steps_in(run.checkpoints))
    return frozenset({found.step} if found else ())


def _result(run: RunDir, number: int) -> None:
    sweep(run.staging)
    skip(run, run.read_record(), number, "a test")
    ResultsTable(run).rebuild()


def _results(run: RunDir) -> State:
    steps, rows = steps_in(run.evaluations), [int(row["step"]) for row in read_rows(run.metrics_csv)]
    assert all(verify(run.evaluation(step)).step == step and run.read_result(step) for step in steps)
    assert len(rows) == len(set(rows)), "one row for each"
    assert listed(run.metrics_csv) <= steps
    return frozenset(steps)


SUBJECTS = {
    "snapshot": Subject(_snapshot, _snapshots),
    "deletion of weights": Subject(_delete, _deleted),
    "checkpoint": Subject(_checkpoint, _checkpoints, adds=False),
    "evaluation and its tables": Subject(_result, _results),
    "row of a table": Subject(_add_row, _rows),
    "changed setting": Subject(_change, _changed, adds=False),
    "request": Subject(lambda run, number: requests.submit_evaluation(run, number, by="a test"), _requested),
    "answer": Subject(_answer, _answered, adds=False),
    "vote": Subject(_vote, _voted),
    "note": Subject(_note, _noted, adds=False),
}
