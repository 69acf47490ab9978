"""Evaluators on one run folder: they share the work, say how it ended, and whatever happens to them leaves no trace."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.config.dumping import dump_config
from shared.run_folder import requests
from shared.run_folder.pending import left_to_evaluate, unevaluated
from shared.run_folder.records.process_status import ProcessStatus
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.sharing.leases import claimed
from shared.run_folder.tables import read_rows
from tests.conftest import Program, Warm, check, until
from tests.integration.conftest import copy_of
from tests.integration.evaluation.test_confirmation import finals
from tests.integration.evaluation.test_evaluation import apart, rows

NUM_EVALUATORS = 3
DONE, NOTHING_TO_DO, TRY_AGAIN, PERMANENT = 0, 3, 4, 5
SLOW_AND_SOON_GIVEN_UP = """
import time
from tasks.text_to_image.evaluation.image_generator import ImageGenerator
from shared.run_folder.sharing import leases
leases.LEASE_SECONDS = {lease}
real = ImageGenerator._draw_batch
def draw(self, batch):
    time.sleep({pause})
    return real(self, batch)
ImageGenerator._draw_batch = draw
"""
OUT_OF_MEMORY = """
import torch
from evaluator import agenda
from evaluator.evaluate import Evaluator
agenda.RETRY_SECONDS = {retry}
real = Evaluator._swap
def swap(self, step, work):
    if step == 15:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    return real(self, step, work)
Evaluator._swap = swap
"""

NO_EVENTS = """
from evaluator import work_queue
class Silent:
    def schedule(self, *_): ...
    def start(self): ...
    def stop(self): ...
    def join(self): ...
work_queue.Observer = Silent
"""


@dataclass
class Crowd:
    """Evaluators that are killed and held up at random, and started again, until everything is evaluated."""

    warm: Warm
    run: RunDir
    prelude: str
    hold_seconds: float
    draw: random.Random
    programs: list[Program] = field(default_factory=list)
    held: dict[int, float] = field(default_factory=dict)
    """Pid → when it may go on."""
    num_killed: int = 0
    num_held: int = 0

    def unfinished(self) -> bool:
        """Whether there is something to evaluate, a first or a second time."""
        return bool(left_to_evaluate(self.run))

    def tend(self) -> None:
        """Let go whoever has waited long enough; replace the dead."""
        for pid, until_when in list(self.held.items()):
            if time.monotonic() > until_when:
                signal_if_there(pid, signal.SIGCONT)
                del self.held[pid]
        self.programs = [program for program in self.programs if not self.ended(program)]
        while len(self.programs) < NUM_EVALUATORS and self.unfinished():
            self.programs.append(self.warm.start("evaluator", self.run.path, "--follow", prelude=self.prelude))

    def ended(self, program: Program) -> bool:
        """Whether it has, as it should."""
        code = program.poll()
        assert code in (None, -signal.SIGKILL), program.stderr()
        return code is not None

    def strike(self) -> None:
        """Kill or hold one that is in the middle of its work."""
        living = {program.pid for program in self.programs} - self.held.keys()
        victims = [status.pid for status in statuses(self.run) if status.state == "evaluating" and status.pid in living]
        if not victims:
            return
        victim = self.draw.choice(sorted(victims))
        if self.num_held < self.num_killed:
            self.held[victim] = time.monotonic() + self.hold_seconds
            self.num_held += signal_if_there(victim, signal.SIGSTOP)
        else:
            self.num_killed += signal_if_there(victim, signal.SIGKILL)

    def disperse(self) -> None:
        """Let everyone go on and end."""
        self.held = dict.fromkeys(self.held, 0.0)
        self.tend()
        for program in self.programs:
            program.kill(signal.SIGTERM)
        assert {program.wait() for program in self.programs} == {DONE}


def with_only(run: RunDir, folder: Path, *steps: int) -> RunDir:
    """A copy with some of the snapshots."""
    found = copy_of(run, folder)
    for step in steps_in(found.snapshots) - set(steps):
        shutil.rmtree(found.snapshot(step))
    return found


def signal_if_there(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def statuses(run: RunDir) -> list[ProcessStatus]:
    return [ProcessStatus.read(path) for path in run.processes.glob("evaluator*.json")]


@pytest.mark.parametrize(
    ("lease", "pause", "hold_seconds", "seconds"),
    [(1.0, 0.2, 2.0, 0.0), pytest.param(60.0, 3.0, 70.0, 60.0, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])],
)
def test_killed_and_stopped_evaluators_leave_what_a_single_one_leaves(
    unevaluated_run: RunDir,
    evaluated_run: RunDir,
    warm: Warm,
    tmp_path: Path,
    lease: float,
    pause: float,
    hold_seconds: float,
    seconds: float,
) -> None:
    run = copy_of(unevaluated_run, tmp_path)
    prelude = SLOW_AND_SOON_GIVEN_UP.format(lease=lease, pause=pause)
    crowd = Crowd(warm, run, prelude, hold_seconds, random.Random(1))
    begun = time.monotonic()

    def everything_is_evaluated() -> bool:
        crowd.tend()
        if crowd.num_killed + crowd.num_held < 4 or time.monotonic() < begun + seconds:
            crowd.strike()
        time.sleep(crowd.draw.uniform(0.1, 1.0))
        return not crowd.unfinished()

    until(everything_is_evaluated, "every snapshot to be evaluated", seconds=200 + 10 * seconds)
    crowd.disperse()
    names = {path.name for path in run.processes.glob("evaluator*.json")}
    assert names == {"evaluator.json", "evaluator-2.json", "evaluator-3.json"}
    assert crowd.num_killed >= 2
    assert crowd.num_held >= 2
    assert warm.start("evaluator", run.path).wait() == NOTHING_TO_DO
    assert rows(run) == rows(evaluated_run)
    assert finals(run) == finals(evaluated_run)
    assert not list(run.claims.rglob("step-*")), "no claim is left"
    assert not list(run.staging.iterdir())
    assert check(run) == []


def test_work_that_another_one_holds_means_try_again(unevaluated_run: RunDir, warm: Warm, tmp_path: Path) -> None:
    run = with_only(unevaluated_run, tmp_path, 15)
    with claimed(run, 15):
        program = warm.start("evaluator", run.path)
        assert program.wait() == TRY_AGAIN
    assert "not everything is evaluated: snapshots evaluated: 0, 1 waiting" in program.stderr()
    assert steps_in(run.evaluations) == {0}


def test_who_comes_while_the_base_model_is_evaluated_waits_for_its_share(
    unevaluated_run: RunDir, warm: Warm, tmp_path: Path
) -> None:
    run = with_only(unevaluated_run, tmp_path, 15)
    with claimed(run, 0):
        program = warm.start("evaluator", run.path)
        until(lambda: [status.state for status in statuses(run)] == ["idle"], "an evaluator that waits")
    assert program.wait() == DONE
    assert steps_in(run.evaluations) == {0, 15}


def test_where_no_file_event_ever_arrives_the_scan_finds_new_snapshots(
    unevaluated_run: RunDir, warm: Warm, tmp_path: Path
) -> None:
    """F18: as on NFS, in WSL and in Colab."""
    run = with_only(unevaluated_run, tmp_path, 14, 15)
    aside = run.snapshot(15).rename(tmp_path / "aside")
    program = warm.start("evaluator", run.path, "--follow", prelude=NO_EVENTS)
    until(lambda: 14 in steps_in(run.evaluations), "the first snapshot")
    aside.rename(run.snapshot(15))
    until(lambda: 15 in steps_in(run.evaluations), "the one that came without an event")
    program.kill(signal.SIGTERM)
    assert program.wait() == DONE, program.stderr()
    assert check(run) == []


def test_what_memory_does_not_suffice_for_is_deferred_and_evaluated_when_it_does(
    unevaluated_run: RunDir, evaluated_run: RunDir, warm: Warm, tmp_path: Path
) -> None:
    run = with_only(unevaluated_run, tmp_path, 14, 15)
    program = warm.start("evaluator", run.path, prelude=OUT_OF_MEMORY.format(retry=600))
    assert program.wait() == TRY_AGAIN
    assert "step 15 is deferred: out of memory" in program.stderr()
    assert statuses(run)[0].notices == ("step 15 is deferred: out of memory; tried again in 600 s",)
    assert steps_in(run.evaluations) == {0, 14}, "the other is evaluated"
    assert not list(run.claims.rglob("step-*"))
    warm.run("evaluator", run.path)
    assert apart(rows(run)) == {step: apart(rows(evaluated_run))[step] for step in ("0", "14", "15")}
    assert check(run) == []


def test_what_memory_never_suffices_for_is_a_failed_result(unevaluated_run: RunDir, warm: Warm, tmp_path: Path) -> None:
    run = with_only(unevaluated_run, tmp_path, 15)
    warm.run("evaluator", run.path, prelude=OUT_OF_MEMORY.format(retry=0))
    result = run.read_result(15)
    assert result
    assert result.status == "failed"
    assert "out of memory" in result.reason
    assert not unevaluated(run)


def test_a_base_model_that_cannot_be_loaded_is_permanent(unevaluated_run: RunDir, warm: Warm, tmp_path: Path) -> None:
    run = copy_of(unevaluated_run, tmp_path)
    config = run.read_config()
    moved = config.model_copy(update={"model": config.model.model_copy(update={"path": str(tmp_path / "gone")})})
    run.config.write_text(dump_config(moved), encoding="utf-8")
    program = warm.start("evaluator", run.path)
    assert program.wait() == PERMANENT
    assert program.stderr().splitlines()[-2].startswith("error: ")
    assert statuses(run)[0].state == "failed"


def test_a_snapshot_asked_for_is_evaluated_next_and_drawn_with_prompts_of_ones_own(
    unevaluated_run: RunDir, evaluated_run: RunDir, warm: Warm, tmp_path: Path
) -> None:
    run = with_only(unevaluated_run, tmp_path, 1, 2, 15)
    next_one = requests.submit_evaluation(run, 15, by="a test")
    mine = requests.submit_evaluation(run, 2, by="a test", prompts=["a green coat", "a red dress"])
    unknown = requests.submit_evaluation(run, 7, by="a test")
    program = warm.run("evaluator", run.path)
    said = [line.partition(" of step ")[2] for line in program.stderr().splitlines()]
    order = [words.partition(":")[0] for words in said if words]
    assert order[:4] == ["0", "15", "2", "1"], "the base model, what was asked for in its order, then the oldest"
    assert apart(rows(run)) == {step: apart(rows(evaluated_run))[step] for step in ("0", "1", "2", "15")}
    for request in (next_one, mine):
        answer = requests.read_answer(run, request)
        assert answer.seen
        assert answer.done
        assert answer.step == request.step
    assert requests.read_answer(run, unknown).ignored == "there is no snapshot of step 7"

    result = run.read_result(2, f"requested/{mine.id}")
    assert result
    assert (result.status, result.snapshot_digest) == ("ok", run.read_result(2).snapshot_digest)  # type: ignore[union-attr]
    assert [sample.prompt for sample in result.samples] == ["a green coat", "a red dress"]
    assert all(set(sample.metrics) == {"clip_t"} for sample in result.samples)
    assert result.missing["visual_loss"] == "these prompts have no reference"
    assert len(list((run.requested / mine.id / "step-00000002" / "images").iterdir())) == 2
    assert check(run) == []
    assert warm.start("evaluator", run.path).wait() == NOTHING_TO_DO


def test_run_py_passes_the_evaluators_word_on(evaluated_run: RunDir, warm: Warm, tmp_path: Path) -> None:
    program = warm.start("run", "evaluate", copy_of(evaluated_run, tmp_path).path)
    assert program.wait() == NOTHING_TO_DO
    assert "nothing is left to evaluate" in program.stdout()
    assert "Best snapshot: step" in program.stdout()


def test_every_fifth_snapshot_is_evaluated_and_the_others_are_recorded_as_skipped(
    unevaluated_run: RunDir, evaluated_run: RunDir, warm: Warm, tmp_path: Path
) -> None:
    run = copy_of(unevaluated_run, tmp_path)
    config = run.read_config()
    settings = config.evaluation.model_copy(update={"every": 5, "confirm_prompts": 0})
    run.config.write_text(dump_config(config.model_copy(update={"evaluation": settings})), encoding="utf-8")
    run.snapshot(15).rename(tmp_path / "aside")
    warm.run("evaluator", run.path)
    expected = rows(evaluated_run)
    for row in read_rows(run.metrics_csv):
        if row["step"] in ("0", "5", "10", "14"):
            assert (row["status"], row["visual_loss"]) == ("ok", expected[row["step"]]["visual_loss"])
        else:
            assert (row["status"], row["reason"]) == ("skipped", "evaluation.every is 5")
            assert (row["visual_loss"], row["composite"]) == ("", "")
            assert row["total_loss"] == expected[row["step"]]["total_loss"]
    assert len(rows(run)) == 15
    assert check(run) == []
    asked = requests.submit_evaluation(run, 3, by="a test")
    warm.run("evaluator", run.path)
    assert requests.read_answer(run, asked).done
    row = rows(run)["3"]
    assert (row["status"], row["visual_loss"]) == ("ok", expected["3"]["visual_loss"])
    assert {row["status"] for step, row in rows(run).items() if step in ("2", "4")} == {"skipped"}
    assert check(run) == []
