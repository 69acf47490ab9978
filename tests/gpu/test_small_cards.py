"""What makes training fit on small cards, where it belongs: quantised weights, 8-bit moments, a full memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows
from tasks.text_to_image.lora.lora import LORA_FILE
from tests.conftest import RunMaker, Warm, run_module

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
FULL = """
import torch
from diffusers import UNet2DConditionModel

whole = UNet2DConditionModel.forward
blocks = []

def forward(self, sample, *arguments, **keywords):
    if len(sample) > 1:
        blocks.append(torch.empty(2**50, dtype=torch.uint8, device="cuda"))
    return whole(self, sample, *arguments, **keywords)

UNet2DConditionModel.forward = forward
"""


def trained(make_run: RunMaker, name: str, model: dict[str, object], train: dict[str, object]) -> RunDir:
    run = make_run(name, model={"mixed_precision": "fp16", **model}, train={"learning_rate": 1e-3, **train})
    outcome = run_module("trainer", run.path)
    assert outcome.returncode == 0, outcome.stderr
    return run


def losses(run: RunDir) -> list[float]:
    return [float(row["loss"]) for row in read_rows(run.train_csv)]


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_a_quantised_base_learns_about_what_the_whole_one_learns(make_run: RunMaker, bits: str) -> None:
    pytest.importorskip("bitsandbytes")
    whole = trained(make_run, "whole", {}, {})
    quantised = trained(
        make_run, "quantised", {"quantization": bits}, {"gradient_checkpointing": True, "optimizer": "adamw8bit"}
    )
    assert losses(quantised) == pytest.approx(losses(whole), rel=0.05)
    shapes = [
        {name: value.shape for name, value in load_file(run.snapshot(6) / LORA_FILE).items()}
        for run in (whole, quantised)
    ]
    assert shapes[0] == shapes[1], "the adapter is the same, whatever it was trained on"


@pytest.mark.parametrize("optimizer", ["adamw", "adamw8bit", "adafactor", "prodigy"])
def test_optimizers_resume_on_the_gpu(make_run: RunMaker, optimizer: str) -> None:
    if optimizer == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    rate = 1.0 if optimizer == "prodigy" else 1e-3
    run = trained(make_run, "run", {}, {"optimizer": optimizer, "learning_rate": rate})
    before = losses(run)
    run.checkpoint(6).rename(run.checkpoints / "set-aside")
    outcome = run_module("trainer", run.path)
    assert outcome.returncode == 0, outcome.stderr
    assert "resuming after step 4" in outcome.stderr
    assert losses(run) == pytest.approx(before, rel=1e-2)


def test_a_full_memory_splits_the_batch_and_training_goes_on(make_run: RunMaker, warm: Warm) -> None:
    run = make_run(model={"mixed_precision": "fp16"})
    program = warm.run("trainer", run.path, prelude=FULL)
    assert "batches of 2 run in pieces of 1" in program.stderr()
    assert len(losses(run)) == 6


FULL_UNTIL_OFFLOADED = """
import torch
from tasks.text_to_image.evaluation.image_generator import ImageGenerator

real = ImageGenerator._draw_batch

def draw(self, batch):
    if not self._offloaded:
        torch.empty(2**50, dtype=torch.uint8, device="cuda")
    return real(self, batch)

ImageGenerator._draw_batch = draw
"""


def test_an_evaluator_short_of_memory_lets_parts_take_turns_and_evaluates_the_same(
    make_run: RunMaker, warm: Warm, tmp_path: Path
) -> None:
    run = make_run(model={"mixed_precision": "fp16"}, evaluation={"batch_size": 1})
    assert run_module("trainer", run.path).returncode == 0
    shutil.copytree(run.path, tmp_path / "short")
    short = RunDir(tmp_path / "short")
    warm.run("evaluator", run.path)
    program = warm.run("evaluator", short.path, prelude=FULL_UNTIL_OFFLOADED)
    assert "take turns" in program.stderr()
    for step in (0, 2, 4, 6):
        whole, taking_turns = run.read_result(step), short.read_result(step)
        assert whole
        assert taking_turns
        assert (taking_turns.status, taking_turns.generation["offload"]) == ("ok", True), taking_turns.reason
        for one, other in zip(whole.samples, taking_turns.samples, strict=True):
            assert one.metrics == pytest.approx(other.metrics, abs=1e-3)
