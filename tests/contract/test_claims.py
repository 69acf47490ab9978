"""Evaluators sharing one run folder, one of them killed at work: one result each, nothing left out."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from shared.files.publication import publish, verify
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.sharing.leases import claimed_steps
from tests.conftest import ROOT, RunMaker, environment, until

EVALUATE = """
import os, sys, time
from pathlib import Path
from evaluator.work_queue import free
from shared.run_folder.sharing.leases import claimed
from shared.run_folder.pending import unfinished
from shared.config.schema import EvaluationConfig
from shared.files.publication import publish
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir, steps_in

run, freeze_at = RunDir(Path(sys.argv[1])), sys.argv[2]
while works := unfinished(run, EvaluationConfig(), trainer_lives=True):
    for step in [work.step for work in free(run, works)][:1]:
        with claimed(run, step) as mine:
            if not mine or step in steps_in(run.evaluations):
                continue
            if str(step) == freeze_at:
                print("at work", flush=True)
                sys.stdin.read()  # until it is killed
            won = publish(run.staging, run.evaluation(step), Manifest(kind="evaluation", run_id="r", step=step),
                          lambda folder: (folder / "who").write_text(str(os.getpid())))
            print(step, won, flush=True)
    time.sleep(0.01)
"""


def start(run: RunDir, freeze_at: int | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", EVALUATE, str(run.path), str(freeze_at)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(), cwd=ROOT
    )


def test_three_evaluators_share_the_steps_and_a_killed_ones_step_is_not_lost(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    record = run.read_record()
    for step in range(2, 42, 2):
        publish(
            run.staging, run.snapshot(step), Manifest(kind="snapshot", run_id=record.run_id, step=step), lambda _: None
        )

    victim = start(run, freeze_at=40)
    assert victim.stdout
    assert [victim.stdout.readline(), victim.stdout.readline()] == ["0 True\n", "at work\n"]
    assert claimed_steps(run) == {40}
    others = [start(run) for _ in range(3)]
    until(lambda: len(steps_in(run.evaluations)) > 3, "the others to work on past the claimed step")
    assert 40 not in steps_in(run.evaluations)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    reports = [line for worker in (*others, start(run)) for line in worker.communicate()[0].splitlines()]

    assert sorted(reports, key=lambda line: int(line.split()[0])) == [f"{step} True" for step in range(2, 42, 2)]
    assert steps_in(run.evaluations) == set(range(0, 42, 2))
    for step in steps_in(run.evaluations):
        verify(run.evaluation(step))
    assert claimed_steps(run) == set()


def test_a_claim_held_by_a_stopped_process_is_not_stolen_within_its_lease(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    holder = start(run, freeze_at=0)
    assert holder.stdout
    assert holder.stdout.readline() == "at work\n"
    try:
        holder.send_signal(signal.SIGSTOP)
        assert claimed_steps(run) == {0}
        assert claimed_steps(run, lease_seconds=0.0) == set(), "after the lease it may be"
    finally:
        holder.kill()
        holder.communicate()
    assert claimed_steps(run) == set()
    assert list(Path(run.claims).glob("step-*")), "the dead cannot tidy up; whoever comes next takes the claim over"
