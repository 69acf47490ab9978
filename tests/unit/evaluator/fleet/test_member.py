"""A machine that cannot do the work says so by name; a full disk is told, not raised."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from evaluator.evaluate import Evaluator
from evaluator.fleet.member import Facts, Member, Refusal, of_own_device
from shared.config.dumping import dump_config
from shared.errors import ConfigError, ModelError, RunFolderError
from shared.machine import sources
from shared.run_folder.heartbeat import read_status
from shared.run_folder.pending import Work
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.sharing.leases import claimed_steps
from tests.conftest import RunMaker, create_run
from tests.integration.test_toy_task import config_of


@pytest.fixture(autouse=True)
def logging_as_before() -> Generator[None]:
    handlers, level = [*logging.root.handlers], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return create_run(config_of(tmp_path))


def member(run: RunDir, run_id: str = "") -> Member:
    return Member(run.path, run_id or run.read_record().run_id, [], os.environ.get("OMP_NUM_THREADS"))


def refusal(reply: Facts | Refusal) -> Exception:
    assert isinstance(reply, Refusal)
    return reply.error


def test_other_versions_are_refused_by_name(run: RunDir) -> None:
    error = refusal(member(run).prepare({**sources.versions(), "torch": "1.0", "Darkroom": "000000000000"}))
    assert isinstance(error, ConfigError)
    assert f"Darkroom {sources.source_digest()} in place of 000000000000" in str(error)
    assert "in place of 1.0" in str(error)
    assert "diffusers" not in str(error)
    assert read_status(run, "evaluator") is None


def test_a_machine_that_does_not_see_the_run_folder_is_refused(run: RunDir, tmp_path: Path) -> None:
    for elsewhere in (member(RunDir(tmp_path / "nowhere"), "x"), member(run, "another-run")):
        error = refusal(elsewhere.prepare(sources.versions()))
        assert isinstance(error, RunFolderError)
        assert "does not see the run folder" in str(error)


def test_a_machine_without_the_model_is_refused(make_run: RunMaker, tmp_path: Path) -> None:
    run = make_run()
    config = run.read_config()
    moved = config.model_copy(update={"model": config.model.model_copy(update={"path": str(tmp_path / "gone")})})
    run.config.write_text(dump_config(moved), encoding="utf-8")
    assert isinstance(refusal(member(run).prepare(sources.versions())), ModelError)


def test_a_result_that_finds_no_room_is_told_with_the_cure_and_leaves_no_claim(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = member(run)
    assert isinstance(one.prepare(sources.versions()), Facts)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "result.json")

    monkeypatch.setattr(Evaluator, "_publish", full)
    done = one.take(Work(0), "step 0", "step 0", patient=True)
    assert done.status == "nothing"
    assert "No space left on device" in str(done.error)
    assert done.error
    assert done.error.hint.startswith("make room")
    assert not claimed_steps(run)
    assert not steps_in(run.evaluations)
    one.leave()
    status = read_status(run, "evaluator")
    assert status
    assert status.state == "finished"


def test_a_member_has_the_card_that_ray_gives_it_to_itself(run: RunDir) -> None:
    config = run.read_config()
    on_third = config.model_copy(
        update={"evaluation": config.evaluation.model_copy(update={"device": "cuda:3", "turns": True})}
    )
    assert of_own_device(on_third).evaluation.device == "cuda"
    assert not of_own_device(on_third).evaluation.turns
