"""Snapshots that are not what they should be: each a failed result with its reason, and the next one drawn true."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from shared.files.publication import MANIFEST, read_manifest, seal
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from tasks.text_to_image.lora.lora import LORA_FILE
from tests.conftest import Warm, check
from tests.integration.conftest import copy_of
from tests.unit.tasks.text_to_image.evaluation.conftest import Tensors, Texts
from tests.unit.tasks.text_to_image.evaluation.test_snapshot_file import (
    add_bytes,
    drop_last_bytes,
    editing,
    other_rank,
    poison,
    settings_changed,
)


def rename_targets(tensors: Tensors, _: Texts) -> None:
    for key in list(tensors):
        tensors[key.replace("to_q", "conv1")] = tensors.pop(key)


def add_text_encoder(tensors: Tensors, _: Texts) -> None:
    name = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
    tensors |= {f"{name}.lora_A.weight": torch.ones(2, 32), f"{name}.lora_B.weight": torch.ones(32, 2)}


def add_ten_thousand_keys(tensors: Tensors, _: Texts) -> None:
    tensors |= {f"unet.extra.{number}.lora_A.weight": torch.zeros(1) for number in range(10_000)}


def resealed(edit: Callable[[Path], object]) -> Callable[[Path], None]:
    """Published wrong: the manifest agrees with the file."""

    def spoil(folder: Path) -> None:
        manifest = read_manifest(folder)
        assert manifest
        edit(folder / LORA_FILE)
        (folder / MANIFEST).unlink()
        seal(folder, manifest.model_copy(update={"files": ()}))

    return spoil


def another_runs_weights(folder: Path) -> None:
    """A whole file of other weights, put in place of the published one."""
    editing(lambda tensors, _: tensors.update({key: value + 1 for key, value in tensors.items()}))(folder / LORA_FILE)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda folder: drop_last_bytes(folder / LORA_FILE), "the manifest says"),
    "truncated before it was published": (resealed(drop_last_bytes), "cannot be read"),
    "NaN": (resealed(editing(poison(float("nan")))), "not finite"),
    "other rank": (resealed(editing(other_rank)), "must be"),
    "other targets": (resealed(editing(rename_targets)), "does not match lora.target_modules"),
    "text encoder keys": (resealed(editing(add_text_encoder)), "2 unknown, such as text_encoder"),
    "wrong alpha": (resealed(editing(settings_changed(**{"unet.lora_alpha": 9}))), "alpha 9"),
    "a file of another run": (another_runs_weights, "manifest"),
    "a header of 10 000 keys": (resealed(editing(add_ten_thousand_keys)), "10000 unknown"),
    "trailing bytes": (resealed(add_bytes), "cannot be read"),
}
GOOD = (3, 6, 9, 12, 15)


@pytest.fixture(scope="module")
def attacked(
    unevaluated_run: RunDir, warm: Warm, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunDir, dict[str, int]]:
    """A run with two hostile snapshots before every good one, evaluated in order; fault → the step it was done to."""
    run = copy_of(unevaluated_run, tmp_path_factory.mktemp("attacked"))
    steps = dict(zip(FAULTS, (step for step in range(1, 16) if step not in GOOD), strict=True))
    for fault, step in steps.items():
        FAULTS[fault][0](run.snapshot(step))
    foreign = read_manifest(run.snapshot(15))
    assert foreign
    shutil.copytree(run.snapshot(15), run.snapshot(99))
    foreign.model_copy(update={"run_id": "another", "step": 99}).write(run.snapshot(99) / MANIFEST)
    warm.run("evaluator", run.path)
    return run, steps


@pytest.mark.parametrize("fault", FAULTS)
def test_a_hostile_snapshot_is_a_failed_result_with_its_reason(
    attacked: tuple[RunDir, dict[str, int]], fault: str
) -> None:
    run, steps = attacked
    result = run.read_result(steps[fault])
    assert result
    assert (result.status, result.samples) == ("failed", ())
    assert FAULTS[fault][1] in result.reason
    row = next(row for row in read_rows(run.metrics_csv) if row["step"] == str(steps[fault]))
    assert (row["status"], row["visual_loss"], row["composite"]) == ("failed", "", "")


@pytest.mark.parametrize("step", GOOD)
def test_the_snapshot_after_hostile_ones_has_the_numbers_and_pictures_it_has_without_them(
    attacked: tuple[RunDir, dict[str, int]], evaluated_run: RunDir, step: int
) -> None:
    run, _ = attacked
    columns = {"status", "visual_loss", "fashion_clip_loss", "color_loss", "clip_t", "composite", "drift", "copy_max"}
    found, expected = (
        {key: next(row for row in read_rows(one.metrics_csv) if row["step"] == str(step))[key] for key in columns}
        for one in (run, evaluated_run)
    )
    assert found == expected
    assert found["status"] == "ok"
    pictures = sorted((evaluated_run.evaluation(step) / "images").iterdir())
    assert len(pictures) == 2
    for picture in pictures:
        assert (run.evaluation(step) / "images" / picture.name).read_bytes() == picture.read_bytes()


def test_another_runs_snapshot_is_never_evaluated_and_nothing_else_is_hurt(
    attacked: tuple[RunDir, dict[str, int]],
) -> None:
    run, steps = attacked
    assert 99 not in steps_in(run.evaluations)
    assert not list(run.claims.rglob("step-*"))
    problems = [problem for problem in check(run) if "snapshots/" not in problem]
    assert problems == []
    best = run.read_best()
    assert best
    assert best.step not in steps.values()
