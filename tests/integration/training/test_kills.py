"""kill -9 at random moments of a trainer's whole life: it ends bit for bit with what an untouched run ends with."""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.files.publication import verify
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from tests.conftest import ROOT, RunMaker, Warm, check, create_run, tiny_config

LAST_STEP, SEED = 40, 1
SECTIONS: dict[str, dict[str, object]] = {
    "train": {
        "max_train_steps": LAST_STEP,
        "snapshot_steps": 5,
        "checkpointing_steps": [[0, 1], [4, 3]],
        "learning_rate": 1e-2,
        "lr_warmup_steps": 3,
    },
    "lora": {"dropout": 0.25},
}
MACHINE_DEPENDENT = {"samples_per_second", "step_seconds", "process_rss_mib", "timestamp"}
PHASES = {"preparing": 2500, "training": 12_000, "publishing": 3500}
"""Calls and returns of our own code until the first step, in a few steps, and in a few saves of the writing thread."""

DIE_AT_EVENT = """
import os, signal, sys
from trainer.loop import Trainer
from trainer.publisher import Publisher
ours, count = tuple(os.path.join(ROOT, name) + os.sep for name in ("trainer", "shared")), 0

def look(frame, event, argument):
    global count
    if frame.f_code.co_filename.startswith(ours):
        count += 1
        if count == NUMBER:
            os.kill(os.getpid(), signal.SIGKILL)

def watched(real):
    def call(*arguments):
        sys.setprofile(look)
        return real(*arguments)
    return call

if PHASE == "preparing":
    sys.setprofile(look)
if PHASE == "training":
    Trainer.train = watched(Trainer.train)
if PHASE == "publishing":
    Publisher._publish = watched(Publisher._publish)
"""

FORGET_ALL_BUT_THE_STEP = """
from trainer.learner import Learner
def restore(self, checkpoint):
    self.step = checkpoint.step
Learner.restore = restore
"""


@dataclass(frozen=True)
class Outcome:
    """What a run ends with, timestamps and speeds left out."""

    rows: list[dict[str, str]]
    files: dict[str, bytes]


def outcome(run: RunDir) -> Outcome:
    rows = [{key: row[key] for key in row.keys() - MACHINE_DEPENDENT} for row in read_rows(run.train_csv)]
    folders = [*(run.snapshot(step) for step in sorted(steps_in(run.snapshots))), run.checkpoint(LAST_STEP)]
    files = [path for folder in folders for path in sorted(folder.iterdir()) if path.name != "manifest.json"]
    return Outcome(rows, {path.relative_to(run.path).as_posix(): path.read_bytes() for path in files})


def die_at_event(phase: str, number: int) -> str:
    """A prelude: the trainer is killed at the n-th call or return of our code in this phase."""
    return f"ROOT, NUMBER, PHASE = {str(ROOT)!r}, {number}, {phase!r}\n" + DIE_AT_EVENT


@pytest.fixture(scope="module")
def untouched(warm: Warm, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, pictures: Path) -> Outcome:
    """What a run ends with that nothing interrupted."""
    run = create_run(tiny_config(tmp_path_factory.mktemp("untouched"), "run", tiny_model, pictures, SECTIONS))
    warm.run("trainer", run.path)
    return outcome(run)


@pytest.mark.parametrize("num_kills", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_bit_for_bit_like_an_untouched_one(
    untouched: Outcome, warm: Warm, make_run: RunMaker, num_kills: int
) -> None:
    run, saved, draw = make_run(**SECTIONS), set[int](), random.Random(SEED)
    phases = [*PHASES, *draw.choices(list(PHASES), k=num_kills - len(PHASES))]
    for phase in draw.sample(phases, k=num_kills):
        program = warm.start("trainer", run.path, prelude=die_at_event(phase, draw.randint(1, PHASES[phase])))
        assert program.wait() == -signal.SIGKILL, f"{phase}: the moment never came: {program.stderr()}"
        saved |= steps_in(run.checkpoints)
        for step in steps_in(run.snapshots):
            verify(run.snapshot(step))
    program = warm.run("trainer", run.path)
    assert outcome(run) == untouched, program.stderr()
    assert check(run) == []
    assert f"resuming after step {max(saved)}" in program.stderr(), "nothing that was saved is lost"


def test_a_run_that_resumed_without_its_state_would_end_differently(
    untouched: Outcome, warm: Warm, make_run: RunMaker, tmp_path: Path
) -> None:
    run = make_run(**SECTIONS)
    assert warm.start("trainer", run.path, prelude=die_at_event("publishing", 3000)).wait() == -signal.SIGKILL
    assert steps_in(run.checkpoints)
    warm.run("trainer", run.path, prelude=FORGET_ALL_BUT_THE_STEP)
    cold = outcome(run)
    assert [row["step"] for row in cold.rows] == [row["step"] for row in untouched.rows]
    for name in ("adapter.safetensors", "optimizer.safetensors"):
        path = f"checkpoints/step-{LAST_STEP:08d}/{name}"
        assert cold.files[path] != untouched.files[path]
    assert cold.rows[-1]["loss"] != untouched.rows[-1]["loss"]
