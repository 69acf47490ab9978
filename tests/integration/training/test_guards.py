"""What ends training by itself: numbers that are none, a full disk. Nothing bad is saved, nothing good is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared.run_folder.heartbeat import read_status
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from tests.conftest import RunMaker, Warm, check, finish
from tests.integration.conftest import steps_of, weights_of

POISON = """
from trainer.learner import Learner
real = Learner._loss
def loss(self, positions):
    return real(self, positions) * (float({value!r}) if self.step + 1 in {steps} else 1.0)
Learner._loss = loss
"""
SPOIL_WEIGHTS = """
import torch
from trainer.learner import Learner
real = Learner.update
def update(self):
    outcome = real(self)
    if self.step == 4:
        with torch.no_grad():
            self.parameters[0].fill_(float("nan"))
    return outcome
Learner.update = update
"""


def ended(run: RunDir) -> tuple[str, str]:
    status = read_status(run, "trainer")
    assert status
    return status.state, status.message


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_poisoned_batch_is_skipped_counted_and_seen(warm: Warm, make_run: RunMaker, value: str) -> None:
    run = make_run(train={"snapshot_steps": 1, "learning_rate": 1e-2, "lr_scheduler": "constant"})
    program = warm.run("trainer", run.path, prelude=POISON.format(value=value, steps={3}))
    rows = read_rows(run.train_csv)
    assert [row["loss"] == value for row in rows] == [step == 3 for step in range(1, 7)]
    assert rows[2]["grad_norm"] in ("nan", "inf")
    files = {step: weights_of(run, step) for step in range(1, 7)}
    assert files[3] == files[2], "the step changed nothing"
    assert files[4] != files[3], "the next one does"
    status = read_status(run, "trainer")
    assert status
    skipped = [notice for notice in status.notices if "skipped" in notice]
    assert skipped == [f"step 3 skipped: loss {value}, gradient norm {rows[2]['grad_norm']}"]
    assert "WARNING trainer.loop: step 3 skipped" in program.stderr()
    assert ended(run)[0] == "finished"


def test_too_many_in_a_row_end_training_and_the_exit_code_says_so(warm: Warm, make_run: RunMaker) -> None:
    run = make_run(train={"max_train_steps": 30, "snapshot_steps": 5}, stop={"max_bad_steps": 4})
    steps = {2, 3, 4, *range(6, 31)}  # three are survived, four are not
    program = warm.start("trainer", run.path, prelude=POISON.format(value="nan", steps=steps))
    assert program.wait() == 4
    assert program.stderr().count("error: 4 steps in a row without finite gradients, up to 9\n") == 1
    assert "hint: lower train.learning_rate" in program.stderr()
    assert "Traceback" not in program.stderr()
    assert steps_of(run.train_csv) == list(range(1, 10))
    assert ended(run) == ("failed", "4 steps in a row without finite gradients, up to 9")
    assert max(steps_in(run.checkpoints)) == 9, "what was learned until then is saved"
    assert check(run) == []


def test_weights_that_are_not_finite_end_training_at_once_and_are_never_saved(warm: Warm, make_run: RunMaker) -> None:
    run = make_run(train={"snapshot_steps": 1})
    program = warm.start("trainer", run.path, prelude=SPOIL_WEIGHTS)
    assert program.wait() == 4
    assert "error: the weights are not finite at step 4\n" in program.stderr()
    assert ended(run)[0] == "failed"
    assert steps_in(run.snapshots) == {1, 2, 3}
    assert steps_in(run.checkpoints) == {2}, "the last good one stays"
    warm.run("trainer", run.path)
    assert steps_of(run.train_csv) == list(range(1, 7))
    assert steps_in(run.snapshots) == set(range(1, 7))
    assert check(run) == []


LOSE_THE_GPU = """
from trainer.learner import Learner
real = Learner.update
def update(self):
    if self.step == 4:
        raise RuntimeError("CUDA error: unspecified launch failure\\nCompile with `TORCH_USE_CUDA_DSA`")
    return real(self)
Learner.update = update
"""


def test_a_gpu_that_fails_ends_training_with_the_cure_and_the_run_resumes(warm: Warm, make_run: RunMaker) -> None:
    run = make_run()
    program = warm.start("trainer", run.path, prelude=LOSE_THE_GPU)
    assert program.wait() == 3
    assert program.stderr().splitlines()[-2] == "error: the GPU has failed: CUDA error: unspecified launch failure"
    assert "nvidia-smi" in program.stderr().splitlines()[-1]
    assert "Traceback" not in program.stderr()
    assert ended(run)[0] == "failed"
    assert max(steps_in(run.checkpoints)) == 4, "the save that was begun is there"
    program = warm.run("trainer", run.path)
    assert "resuming after step 4" in program.stderr()
    assert check(run) == []


FULL_DISK = '''
import logging, os, sys, time
from pathlib import Path
from shared.machine import disk
from tests.conftest import check
from shared.errors import exit_code_of
from shared.run_folder.run_dir import steps_in
from tests.conftest import create_run
from tests.conftest import tiny_config
from trainer import __main__ as program
from trainer.learner import Learner

logging.basicConfig(level=logging.WARNING)
output, model, pictures, cache = map(Path, sys.argv[1:])
sections = {"data": {"cache_dir": str(cache)}, "train": {"max_train_steps": 12, "checkpointing_steps": 2}}
run = create_run(tiny_config(output, "run", model, pictures, sections))
sys.argv[1:] = [str(run.path)]
filler = output / "filler"

def fill(left):
    """Use the disk up to `left` bytes."""
    with filler.open("ab") as file:
        while (room := disk.free_bytes(output) - left) > 0:
            try:
                file.write(bytes(min(room, 1 << 16)))
                file.flush()
            except OSError:
                return

real = Learner.update
def train(fill_at=None, left=0):
    def update(self):
        if self.step + 1 == fill_at:
            fill(left)
        return real(self)
    Learner.update = update
    code = exit_code_of(program.main)
    print(f"code {code}, checkpoint {max(steps_in(run.checkpoints))}, problems {check(run)}", flush=True)

train(fill_at=4, left=2_000_000)   # nearly full: stops in time
train()                            # still full: refuses to begin
filler.unlink()
disk.shortage = lambda folder, need: ""  # nobody looks: the save itself meets the full disk
train(fill_at=6, left=0)
filler.unlink()
train()
'''


def test_a_disk_that_fills_up_loses_nothing_and_the_run_goes_on_when_there_is_room(
    tmp_path: Path, tiny_model: Path, pictures: Path
) -> None:
    """F39, on a real file system of 8 MB that is really full."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    mount = f"mount -t tmpfs -o size=8m tmpfs {mounted}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("user namespaces cannot mount a tmpfs here")
    (tmp_path / "script.py").write_text(FULL_DISK, encoding="utf-8")
    arguments = [str(path) for path in (mounted, tiny_model, pictures, tmp_path / "cache")]
    script = [sys.executable, str(tmp_path / "script.py"), *arguments]
    outcome = finish("unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", *script)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.splitlines() == [
        "code 4, checkpoint 4, problems []",
        "code 4, checkpoint 4, problems []",
        "code 1, checkpoint 4, problems []",
        "code 0, checkpoint 12, problems []",
    ], outcome.stderr
    assert "error: the disk is nearly full: " in outcome.stderr
    assert "error: there is not enough disk space to train: " in outcome.stderr
    assert "No space left on device" in outcome.stderr
    assert "Traceback" not in outcome.stderr
