"""What saves memory leaves the result as it was: smaller pieces, recomputed activations, compilation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from shared.run_folder.heartbeat import read_status
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows
from tasks.text_to_image.lora.lora import LORA_FILE
from tests.conftest import RunMaker, Warm, run_ranks

TRAIN = {
    "max_train_steps": 3,
    "train_batch_size": 5,
    "snapshot_steps": 3,
    "checkpointing_steps": 3,
    "optimizer": "sgd",  # linear in the gradient: Adam would blow rounding up to the size of a step
    "learning_rate": 1.0,
}
STARVED = """
import os
import torch
from diffusers import UNet2DConditionModel

whole = UNet2DConditionModel.forward

def forward(self, sample, *arguments, **keywords):
    prediction = whole(self, sample, *arguments, **keywords)
    if len(sample) > {fits} and os.environ.get("RANK", "1") == "1":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    return prediction

UNet2DConditionModel.forward = forward
"""

TRACED = """
import logging
from torch import nn
from torch._dynamo.backends.debugging import aot_eager

def backend(graph, inputs):
    logging.getLogger("trainer").info("traced")
    return aot_eager(graph, inputs)

whole = nn.Module.compile
nn.Module.compile = lambda self: whole(self, backend=backend)
"""

QUANTISED = """
from diffusers.quantizers.bitsandbytes import bnb_quantizer
from tasks.text_to_image.families import quantization

for kind in (bnb_quantizer.BnB4BitDiffusersQuantizer, bnb_quantizer.BnB8BitDiffusersQuantizer):
    kind.validate_environment = lambda self, *arguments, **keywords: None
    kind.update_device_map = lambda self, device_map: {"": "cpu"}
quantization.require = lambda settings, device: None
"""


def losses(run: RunDir) -> list[float]:
    return [float(row["loss"]) for row in read_rows(run.train_csv)]


def weights(run: RunDir) -> dict[str, torch.Tensor]:
    return load_file(run.snapshot(3) / LORA_FILE)


def assert_same(run: RunDir, other: RunDir, tolerance: float) -> None:
    assert losses(run) == pytest.approx(losses(other), abs=tolerance)
    assert weights(run).keys() == weights(other).keys()
    for name, value in weights(other).items():
        assert torch.allclose(weights(run)[name], value, atol=tolerance), name


@pytest.fixture
def plain(make_run: RunMaker, warm: Warm) -> RunDir:
    run = make_run("plain", train=TRAIN)
    warm.run("trainer", run.path)
    assert any(value.abs().max() > 1e-3 for name, value in weights(run).items() if "lora_B" in name), "it learnt"
    return run


def test_a_run_that_runs_out_of_memory_learns_the_same_in_smaller_pieces(
    plain: RunDir, make_run: RunMaker, warm: Warm
) -> None:
    run = make_run("starved", train=TRAIN)
    program = warm.run("trainer", run.path, prelude=STARVED.format(fits=2))
    assert_same(run, plain, 1e-6)
    assert "batches of 5 run in pieces of 3" in program.stderr()
    assert "batches of 5 run in pieces of 2" in program.stderr()
    assert program.stderr().count("out of memory") == 2, "remembered by later steps"
    status = read_status(run, "trainer")
    assert status
    assert "out of memory: batches of 5 run in pieces of 2" in status.notices
    (run.checkpoint(3) / "state.json").read_text(encoding="utf-8").index('"micro_batch_size": 2')


def test_a_run_that_cannot_hold_one_picture_ends_with_advice(make_run: RunMaker, warm: Warm) -> None:
    run = make_run("starved", train=TRAIN)
    program = warm.start("trainer", run.path, prelude=STARVED.format(fits=0))
    assert program.wait() == 3
    assert "error: out of memory with one example at a time" in program.stderr()
    assert "hint: set train.gradient_checkpointing = true" in program.stderr()
    assert "Traceback" not in program.stderr()
    status = read_status(run, "trainer")
    assert status
    assert status.state == "failed"


def test_a_run_with_recomputed_activations_learns_the_same(plain: RunDir, make_run: RunMaker, warm: Warm) -> None:
    run = make_run("checkpointing", train={**TRAIN, "gradient_checkpointing": True})
    warm.run("trainer", run.path)
    assert_same(run, plain, 1e-6)


@pytest.mark.slow
def test_a_compiled_run_learns_the_same_and_its_file_has_the_usual_names(
    plain: RunDir, make_run: RunMaker, warm: Warm
) -> None:
    """Traced and differentiated as for a GPU; only the last stage, minutes of C++ on a CPU, is left out."""
    run = make_run("compiled", train={**TRAIN, "torch_compile": True, "gradient_checkpointing": True})
    program = warm.run("trainer", run.path, prelude=TRACED)
    assert "traced" in program.stderr()
    assert_same(run, plain, 1e-5)


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_a_quantised_base_learns_about_what_the_whole_one_learns(
    bits: str, plain: RunDir, make_run: RunMaker, warm: Warm
) -> None:
    """With bitsandbytes' kernels for the CPU, which are too slow for more than this."""
    pytest.importorskip("bitsandbytes")
    run = make_run("quantised", model={"quantization": bits}, train={**TRAIN, "gradient_checkpointing": True})
    warm.run("trainer", run.path, prelude=QUANTISED)
    assert losses(run) == pytest.approx(losses(plain), rel=0.02)
    assert losses(run) != losses(plain), "its weights are rounded"
    assert weights(run).keys() == weights(plain).keys()


@pytest.mark.slow
def test_two_processes_split_together_when_one_runs_out_of_memory(make_run: RunMaker, tmp_path: Path) -> None:
    """Ten pictures per update on two processes; the second has room for one."""
    script = tmp_path / "starved.py"
    script.write_text(
        STARVED.format(fits=1) + "\nimport runpy\nrunpy.run_module('trainer', run_name='__main__', alter_sys=True)\n",
        encoding="utf-8",
    )
    runs = {name: make_run(name, train={**TRAIN, "gradient_accumulation_steps": 2}) for name in ("two", "starved")}
    for run, program in zip(runs.values(), (["-m", "trainer"], [str(script)]), strict=True):
        outcome = run_ranks(2, *program, run.path)
        assert outcome.returncode == 0, outcome.stderr
    assert "pieces of 1" in outcome.stderr
    assert_same(runs["starved"], runs["two"], 1e-6)
