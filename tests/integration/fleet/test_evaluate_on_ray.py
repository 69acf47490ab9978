"""A fleet leaves what one evaluator leaves, also where members die and machines come later."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from shared.run_folder.heartbeat import hold_role, is_alive
from shared.run_folder.records.process_status import ProcessStatus
from shared.run_folder.run_dir import RunDir, step_name, steps_in
from tests.conftest import Warm, check, until
from tests.integration.conftest import copy_of
from tests.integration.evaluation.test_confirmation import finals
from tests.integration.evaluation.test_evaluation import rows
from tests.integration.fleet.conftest import NODE, NUM_CPUS

FIRST = range(1, 5)


def members(run: RunDir, driver: int) -> list[ProcessStatus]:
    """The evaluators of the fleet that have loaded the model."""
    found = [ProcessStatus.read(path) for path in run.processes.glob("evaluator*.json")]
    return [one for one in found if one.pid != driver and is_alive(one) and one.state in ("idle", "evaluating")]


def aside(run: RunDir, folder: Path) -> Path:
    """Take away all snapshots but the first: they come later."""
    folder.mkdir()
    for step in steps_in(run.snapshots) - {*FIRST}:
        run.snapshot(step).rename(folder / step_name(step))
    return folder


@pytest.mark.parametrize("comes_later", [False, pytest.param(True, marks=[pytest.mark.slow])])
def test_evaluators_of_which_one_is_killed_and_two_are_on_a_machine_that_came_later_leave_what_one_leaves(
    cluster: Cluster, unevaluated_run: RunDir, evaluated_run: RunDir, warm: Warm, tmp_path: Path, comes_later: bool
) -> None:
    number = 2 * NUM_CPUS if comes_later else NUM_CPUS
    run = copy_of(unevaluated_run, tmp_path)
    later = aside(run, tmp_path / "later")
    program = warm.start("evaluator.fleet", run.path, "--follow", "--on", cluster.address, "--evaluators", number)
    with hold_role(run, "trainer"):
        until(lambda: [one for one in members(run, program.pid) if one.step > 0], "an evaluator at work", seconds=120)
        victim = max(members(run, program.pid), key=lambda one: one.state == "evaluating")
        os.kill(victim.pid, signal.SIGKILL)
        node = cluster.add_node(**NODE, num_cpus=NUM_CPUS) if comes_later else None
        until(
            lambda: len({one.pid for one in members(run, program.pid)} - {victim.pid}) == number,
            "every evaluator, one in place of the killed",
            seconds=120,
        )
        until(lambda: {0, *FIRST} <= steps_in(run.evaluations), "the first ones")
        for snapshot in sorted(later.iterdir()):
            snapshot.rename(run.snapshots / snapshot.name)
        until(lambda: {0, *range(1, 16)} <= steps_in(run.evaluations), "the others")
        taken = {one.pid: one.step for one in members(run, program.pid)}
    program.kill(signal.SIGTERM)
    assert program.wait() == 0, program.stderr()
    if node:
        cluster.remove_node(node)
    assert all(step not in {0, *FIRST} for step in taken.values()), f"each has taken one that came later: {taken}"
    assert "evaluators died" not in program.stderr()
    assert rows(run) == rows(evaluated_run)
    assert finals(run) == finals(evaluated_run)
    for picture in sorted(evaluated_run.evaluations.rglob("*.png")):
        assert (run.path / picture.relative_to(evaluated_run.path)).read_bytes() == picture.read_bytes()
    assert not list(run.claims.rglob("step-*")), "no claim is left"
    assert not list(run.staging.iterdir())
    assert check(run) == []
