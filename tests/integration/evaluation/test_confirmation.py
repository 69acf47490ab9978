"""The final: the best snapshots evaluated again, whatever interrupts it and whoever joins later."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.run_dir import RunDir, steps_in
from tests.conftest import Warm, check, create_run, tiny_config
from tests.integration.conftest import copy_of

SECTIONS: dict[str, dict[str, object]] = {
    "data": {"num_validation": 7},
    "train": {"learning_rate": 2e-2, "lr_scheduler": "constant_with_warmup"},
    "lora": {"lora_alpha": 4},
    "evaluation": {"confirm_prompts": 2, "confirm_seeds": 2},
}

DIE_AT_PUBLICATION = """
import os, signal
from evaluator import evaluate
real, count = evaluate.publish, 0
def publish(staging, target, manifest, write):
    global count
    count += target.parent.name == "confirmations"
    if count == {number} and {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    outcome = real(staging, target, manifest, write)
    if count == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return outcome
evaluate.publish = publish
"""


@pytest.fixture(scope="module")
def confirmed(warm: Warm, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, pictures: Path) -> RunDir:
    """A run with three snapshots, evaluated to the end by one evaluator."""
    run = create_run(tiny_config(tmp_path_factory.mktemp("confirmed"), "run", tiny_model, pictures, SECTIONS))
    warm.run("trainer", run.path)
    warm.run("evaluator", run.path)
    return run


def unconfirmed_copy(confirmed: RunDir, folder: Path, *, without: int | None = None) -> RunDir:
    """A copy as it was before the final; `without` the result and the snapshot of a step."""
    run = copy_of(confirmed, folder)
    for step in steps_in(run.confirmations):
        shutil.rmtree(run.result("confirmations", step))
    if without is not None:
        shutil.rmtree(run.evaluation(without))
        shutil.rmtree(run.snapshot(without))
    return run


def finals(run: RunDir) -> dict[int, EvaluationResult]:
    """What was found in the final, times and memory left out."""
    found = {step: run.read_result(step, "confirmations") for step in steps_in(run.confirmations)}
    nothing = {"created": "", "seconds": {}, "memory": {}, "run_id": ""}
    return {step: result.model_copy(update=nothing) for step, result in found.items() if result}


def files(run: RunDir, *steps: int) -> dict[str, tuple[int, bytes]]:
    paths = [path for step in steps for path in run.result("confirmations", step).rglob("*") if path.is_file()]
    return {path.as_posix(): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def test_the_best_are_evaluated_again_with_new_seeds_and_on_prompts_that_had_no_part_in_choosing_them(
    confirmed: RunDir,
) -> None:
    best = confirmed.read_best()
    assert best
    assert best.finalists == (2, 4, 6)
    assert best.confirmation
    assert (best.confirmation.finalists, best.confirmation.num_prompts) == ((2, 4, 6), 4)
    assert (best.confirmation.num_unseen, best.confirmation.num_pictures) == (2, 8)
    assert best.step == best.confirmation.step
    assert "evaluated again with 2 new seeds on the same 2 prompts and on 2 unseen prompts" in best.reason
    held_out = confirmed.read_record().dataset.held_out
    for step in (0, 2, 4, 6):
        first, second = confirmed.read_result(step), confirmed.read_result(step, "confirmations")
        assert first
        assert second
        assert second.status == "ok", second.reason
        assert {sample.prompt_id for sample in second.samples} == set(held_out[:4])
        assert {sample.prompt_id for sample in first.samples} == set(held_out[:2])
        assert not {sample.seed for sample in first.samples} & {sample.seed for sample in second.samples}
        assert all(sample.metrics["drift"] is not None for sample in second.samples)
    assert check(confirmed) == []


def test_the_final_is_held_once(confirmed: RunDir, warm: Warm) -> None:
    before = files(confirmed, 0, 2, 4, 6)
    assert before
    assert warm.start("evaluator", confirmed.path).wait() == 3
    assert files(confirmed, 0, 2, 4, 6) == before


def test_a_final_killed_in_the_middle_goes_on_with_what_is_missing(
    confirmed: RunDir, warm: Warm, tmp_path: Path
) -> None:
    run = unconfirmed_copy(confirmed, tmp_path)
    kept: dict[str, tuple[int, bytes]] = {}
    for before, made in ((True, {0}), (False, {0, 2, 4})):  # before and after the second publication of a program
        prelude = DIE_AT_PUBLICATION.format(number=2, before=before)
        assert warm.start("evaluator", run.path, prelude=prelude).wait() == -signal.SIGKILL
        assert steps_in(run.confirmations) == made
        best = run.read_best()
        assert best
        assert best.confirmation is None
        assert kept.items() <= files(run, *made).items()
        kept = files(run, *made)
    warm.run("evaluator", run.path)
    assert files(run, 0, 2, 4) == kept
    assert finals(run) == finals(confirmed)
    again, expected = run.read_best(), confirmed.read_best()
    assert again
    assert expected
    assert again.confirmation == expected.confirmation
    assert check(run) == []


def test_a_new_finalist_of_a_longer_run_joins_those_evaluated_already(
    confirmed: RunDir, warm: Warm, tmp_path: Path
) -> None:
    run = unconfirmed_copy(confirmed, tmp_path, without=6)
    warm.run("evaluator", run.path)
    assert steps_in(run.confirmations) == {0, 2, 4}
    kept = files(run, 0, 2, 4)
    shutil.copytree(confirmed.snapshot(6), run.snapshot(6))
    warm.run("evaluator", run.path)
    assert files(run, 0, 2, 4) == kept
    assert finals(run) == finals(confirmed)
    assert check(run) == []


def test_a_broken_finalist_leaves_the_first_choice_standing_and_is_said(
    confirmed: RunDir, warm: Warm, tmp_path: Path
) -> None:
    run = unconfirmed_copy(confirmed, tmp_path)
    prelude = """
from evaluator.evaluate import Evaluator
from shared.errors import ModelError
real = Evaluator._swap
def swap(self, step, work):
    if (self.kind, step) == ("confirmations", 4):
        raise ModelError("the file has vanished")
    return real(self, step, work)
Evaluator._swap = swap
"""
    warm.run("evaluator", run.path, prelude=prelude)
    best = run.read_best()
    assert best
    assert best.confirmation is None
    result = run.read_result(4, "confirmations")
    assert result
    assert (result.status, result.reason) == ("failed", "the file has vanished")
    assert warm.start("evaluator", run.path).wait() == 3, "failed is final"
    assert check(run) == []


def test_a_run_without_further_pairs_has_a_final_too(
    warm: Warm, tmp_path: Path, tiny_model: Path, pictures: Path
) -> None:
    sections = {**SECTIONS, "data": {"num_validation": 2}, "evaluation": {"confirm_prompts": 16, "confirm_seeds": 1}}
    run = create_run(tiny_config(tmp_path, "run", tiny_model, pictures, sections))
    warm.run("trainer", run.path)
    warm.run("evaluator", run.path)
    best = run.read_best()
    assert best
    assert best.confirmation
    assert (best.confirmation.num_prompts, best.confirmation.num_unseen, best.confirmation.num_pictures) == (2, 0, 2)
    assert "with 1 new seed on the same 2 prompts." in best.reason
    assert not run.further_references.exists()
    assert check(run) == []
