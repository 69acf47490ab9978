"""Does a finished run equal one that nothing disturbed? Row by row, bit for bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file

from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows

OF_THE_MACHINE = {
    "timestamp",
    "samples_per_second",
    "step_seconds",
    "gpu_allocated_mib",
    "gpu_reserved_mib",
    "gpu_device_used_mib",
    "process_rss_mib",
    "seconds",
    "evaluation_seconds",
}
"""Columns that say when, how fast and in how much memory."""
Row = dict[str, str]


def expected(untouched: RunDir, folder: Path, steps: set[int], evaluate: Callable[[RunDir], object]) -> RunDir:
    """An untouched run with these snapshots, evaluated: what the disturbed one must equal.

    untouched: trained without a break, with a snapshot of every step. Its evaluations are kept for the next time.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(untouched.path, folder)
    run = RunDir(folder)
    for step in steps_in(run.snapshots) - steps:
        shutil.rmtree(run.snapshot(step))
        shutil.rmtree(run.evaluation(step), ignore_errors=True)
    for derived in (run.metrics_csv, run.path / "best.json"):
        derived.unlink(missing_ok=True)
    evaluate(run)
    untouched.evaluations.mkdir(exist_ok=True)
    shutil.copyfile(run.metric_descriptions, untouched.metric_descriptions)  # what the tables of kept results mean
    for step in steps_in(run.evaluations) - steps_in(untouched.evaluations):
        shutil.copytree(run.evaluation(step), untouched.evaluation(step))
    return run


def differences(run: RunDir, wanted: RunDir, lost: set[tuple[str, int]]) -> Iterator[str]:
    """What is not equal. lost: rows that a damaged file has cost."""
    validations = {step for table, step in lost if table == "validation.csv"}
    for name in ("train.csv", "validation.csv", "metrics.csv"):
        yield from _rows_differ(name, run.path / name, wanted.path / name, validations)
    yield from _examples_differ(run, wanted, validations)
    for kind in ("snapshots", "evaluations"):
        ours, theirs = steps_in(run.path / kind), steps_in(wanted.path / kind)
        if ours != theirs:
            yield f"{kind}: steps {sorted(ours ^ theirs)} are in one only"
    for step in sorted(steps_in(run.snapshots) & steps_in(wanted.snapshots)):
        yield from _tensors_differ(run.snapshot(step), wanted.snapshot(step))
    for step in sorted(steps_in(run.evaluations) & steps_in(wanted.evaluations)):
        yield from _pictures_differ(run.evaluation(step), wanted.evaluation(step))
    last = max(steps_in(wanted.checkpoints))
    if run.checkpoint(last).is_dir():
        yield from _tensors_differ(run.checkpoint(last), wanted.checkpoint(last))
    else:
        yield f"there is no checkpoint of step {last}"
    yield from _verdicts_differ(run, wanted)


def _rows_differ(name: str, ours: Path, theirs: Path, validations: set[int]) -> Iterator[str]:
    """validations: steps whose held-out loss is lost, and blank in metrics.csv."""
    found = _by_step(read_rows(ours))
    wanted = _by_step(read_rows(theirs))
    if len(found) != len(read_rows(ours)):
        yield f"{name}: a step stands in it more than once"
    for step in sorted(found.keys() | wanted.keys()):
        if step not in found:
            if name != "validation.csv" or step not in validations:
                yield f"{name}: step {step} is missing"
        elif step not in wanted:
            yield f"{name}: step {step} is one too many"
        elif different := [key for key in wanted[step] if found[step].get(key) != wanted[step][key]]:
            if name == "metrics.csv" and step in validations and set(different) <= {"val_loss", "gap", "reason"}:
                continue
            told = ", ".join(f"{key} {found[step].get(key)!r} for {wanted[step][key]!r}" for key in different[:3])
            yield f"{name}: step {step} differs in {told}"


def _by_step(rows: list[Row]) -> dict[int, Row]:
    return {int(row["step"]): {key: row[key] for key in row if key not in OF_THE_MACHINE} for row in rows}


def _examples_differ(run: RunDir, wanted: RunDir, lost: set[int]) -> Iterator[str]:
    ours, theirs = ({tuple(row.items()) for row in read_rows(one.validation_examples_csv)} for one in (run, wanted))
    steps = sorted({int(dict(row)["step"]) for row in ours ^ theirs} - lost)
    if steps:
        yield f"validation_examples.csv: steps {steps} differ"


def _tensors_differ(ours: Path, theirs: Path) -> Iterator[str]:
    for path in sorted(theirs.glob("*.safetensors")):
        found, wanted = load_file(ours / path.name), load_file(path)
        names = found.keys() ^ wanted.keys()
        unequal = [name for name in found.keys() & wanted.keys() if _bits(found[name]) != _bits(wanted[name])]
        if names or unequal:
            yield f"{ours.parent.name}/{ours.name}/{path.name}: {len(names) + len(unequal)} tensors differ"


def _bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _pictures_differ(ours: Path, theirs: Path) -> Iterator[str]:
    for path in sorted((theirs / "images").glob("*")):
        other = ours / "images" / path.name
        if not other.is_file() or _pixels(other) != _pixels(path):
            yield f"evaluations/{ours.name}/images/{path.name} differs"


def _pixels(path: Path) -> tuple[tuple[int, int], bytes]:
    """The file names the run as well."""
    with Image.open(path) as picture:
        return picture.size, picture.convert("RGB").tobytes()


def _verdicts_differ(run: RunDir, wanted: RunDir) -> Iterator[str]:
    ours, theirs = (json.loads((one.path / "best.json").read_text(encoding="utf-8")) for one in (run, wanted))
    for key in ("step", "ranked", "surer", "deltas", "flagged", "better_than_base", "reason"):
        if ours.get(key) != theirs.get(key):
            yield f"best.json: {key} is {ours.get(key)!r} for {theirs.get(key)!r}"
