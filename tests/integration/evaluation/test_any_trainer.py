"""`run.py evaluate` over a folder in which other programs save LoRAs, on the tiny model, with `--follow`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from shared.run_folder.heartbeat import read_status
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from tasks.text_to_image import export
from tasks.text_to_image.lora.lora import LORA_FILE
from tests.conftest import Warm, check, until

SETTINGS = (
    *("data.resolution=32", "evaluation.num_prompts=2", "evaluation.num_seeds=2", "evaluation.batch_size=3"),
    *("evaluation.num_inference_steps=2", "evaluation.fashion_clip=pocket", "evaluation.confirm_prompts=0"),
    *("evaluation.rescan_seconds=0.5", "evaluation.strengths=[]", "evaluation.averages=0"),
)
FOREIGN_RANK, HALF_WRITTEN, DAMAGED, FOREIGN_FAMILY = 5, 7, 8, 9


@dataclass(frozen=True)
class Followed:
    """What came of it."""

    run: RunDir
    folder: Path
    output: str


def kohya(run: RunDir, step: int, path: Path) -> Path:
    export.export(export.read(run, step), "kohya", "fp32", path)
    return path


def of_twice_the_rank(path: Path, target: Path) -> None:
    """The same update: what is added to A and B is zero, and alpha doubles with the rank."""
    tensors = load_file(path)
    for key, value in tensors.items():
        if key.endswith("lora_down.weight"):
            tensors[key] = torch.cat([value, torch.zeros_like(value)])
        elif key.endswith("lora_up.weight"):
            tensors[key] = torch.cat([value, torch.zeros_like(value)], dim=1)
        else:
            tensors[key] = 2 * value
    save_file(tensors, target)


@pytest.fixture(scope="module")
def followed(
    finished: RunDir, warm: Warm, tiny_model: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Followed:
    """Two snapshots of a run under names of kohya and OneTrainer, and files that are not right; the last comes late."""
    root = tmp_path_factory.mktemp("any")
    folder, references, training = root / "dress", root / "references", root / "training"
    for place in (folder, references, training):
        place.mkdir()
    held_out = finished.read_record().dataset.held_out
    for picture in pictures.glob("*.png"):
        name = picture.stem
        target = references / f"{held_out.index(name)}-{name}" if name in held_out else training / name
        for ending in (".png", ".txt"):
            shutil.copy(picture.with_suffix(ending), target.with_suffix(ending))
    first = kohya(finished, 2, folder / "dress-000001.safetensors")
    kohya(finished, 4, folder / "2026-01-31_12-00-00-save-4-1-0.safetensors")
    of_twice_the_rank(first, folder / f"dress_{FOREIGN_RANK:09d}.safetensors")
    (folder / f"dress_{DAMAGED:09d}.safetensors").write_bytes(b"\xff" * 500)
    (folder / f"dress_{HALF_WRITTEN:09d}.safetensors").write_bytes(first.read_bytes()[:-500])
    sdxl = "lora_unet_input_blocks_4_1_proj_in"
    save_file(
        {f"{sdxl}.lora_down.weight": torch.ones(2, 8), f"{sdxl}.lora_up.weight": torch.ones(8, 2)},
        folder / f"dress_{FOREIGN_FAMILY:09d}.safetensors",
    )
    before = sorted((path.name, path.stat().st_mtime_ns, path.stat().st_mode) for path in folder.iterdir())
    given = ("--base", tiny_model, "--references", references, "--train-pictures", training)
    log = root / "log"
    command = ("evaluate", folder, *given, "--output", root / "runs", "--follow", "--no-dashboard", *SETTINGS)
    program = warm.start("run", *command, log=log)
    run = RunDir(root / "runs" / "dress")
    until(lambda: run.path.exists() and 2 in steps_in(run.evaluations), f"the first result; {log}")
    assert sorted((path.name, path.stat().st_mtime_ns, path.stat().st_mode) for path in folder.iterdir()) == before
    (folder / "checkpoint-6").mkdir()
    shutil.copy(finished.snapshot(6) / LORA_FILE, folder / "checkpoint-6" / LORA_FILE)
    until(lambda: 6 in steps_in(run.evaluations), f"the late one; {log}")
    stopping = warm.start("run", "stop", run.path)
    assert stopping.wait() == 0, stopping.stderr()
    assert program.wait() == 0, log.read_text(encoding="utf-8")
    return Followed(run, folder, log.read_text(encoding="utf-8"))


def test_its_figures_and_its_verdict_are_those_of_the_run_that_trained_them(
    followed: Followed, finished: RunDir
) -> None:
    columns = ("visual_loss", "fashion_clip_loss", "color_loss", "clip_t", "drift", "copy_max", "diversity")
    theirs, ours = (
        {row["step"]: [row[column] for column in columns] for row in read_rows(run.metrics_csv)}
        for run in (followed.run, finished)
    )
    assert {step: theirs[step] for step in ours} == ours
    best = finished.read_best()
    found = followed.run.read_best()
    assert best
    assert found
    assert found.step == best.step
    assert found.advice
    assert found.advice.action == "continue"


def test_one_is_exported_like_a_snapshot_of_our_own(followed: Followed, finished: RunDir, tmp_path: Path) -> None:
    adapter, own = export.read(followed.run, 2), export.read(finished, 2)
    assert adapter.weights.keys() == own.weights.keys()
    assert all(torch.equal(value, own.weights[key]) for key, value in adapter.weights.items())
    export.export(adapter, "kohya", "fp32", tmp_path / "again.safetensors")
    theirs, ours = load_file(followed.folder / "dress-000001.safetensors"), load_file(tmp_path / "again.safetensors")
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def test_another_rank_is_evaluated_and_what_is_wrong_fails_alone_with_its_reason(followed: Followed) -> None:
    rows = {int(row["step"]): row for row in read_rows(followed.run.metrics_csv)}
    found, own = (float(rows[step]["visual_loss"]) for step in (FOREIGN_RANK, 2))
    assert found == pytest.approx(own, rel=1e-4), "another rank is summed in another order"
    reasons = {step: row["reason"] for step, row in rows.items() if row["status"] == "failed"}
    assert reasons.keys() == {HALF_WRITTEN, DAMAGED, FOREIGN_FAMILY}
    assert "bytes, its header says" in reasons[HALF_WRITTEN]
    assert "is no safetensors file" in reasons[DAMAGED]
    assert "is a LoRA for SDXL" in reasons[FOREIGN_FAMILY]
    assert all(f"dress_{step:09d}.safetensors" in reason for step, reason in reasons.items())


def test_the_run_is_whole_and_says_where_it_comes_from(followed: Followed) -> None:
    assert check(followed.run) == []
    imported = followed.run.read_record().imported
    assert imported
    assert imported.trainer == "Darkroom"
    assert "step 2, epoch 1: dress-000001.safetensors" in followed.output
    status = read_status(followed.run, "importer")
    assert status
    assert (status.state, status.step) == ("finished", FOREIGN_FAMILY)
    assert read_status(followed.run, "trainer") is None
