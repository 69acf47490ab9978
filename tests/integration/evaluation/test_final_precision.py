"""The final is judged on the base model's full weights, whatever made room while the run was trained and drawn."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from shared.run_folder.run_dir import RunDir, steps_in
from tests.conftest import Warm, check, create_run, tiny_config

SECTIONS: dict[str, dict[str, object]] = {
    "data": {"num_validation": 4},
    "model": {"quantization": "fp8"},
    "lora": {"rank": 2, "lora_alpha": 4},
    "train": {"learning_rate": 1e-2, "max_train_steps": 2, "snapshot_steps": 1, "gradient_checkpointing": True},
    "evaluation": {"scheduler": "own", "guidance_scale": 3.0, "confirm_prompts": 1},
}


def pictures_of(run: RunDir) -> dict[str, bytes]:
    paths = [path for step in steps_in(run.confirmations) for path in run.result("confirmations", step).rglob("*.png")]
    return {path.relative_to(run.confirmations).as_posix(): path.read_bytes() for path in paths}


def test_trained_in_8_bits_and_drawn_with_swapped_blocks_the_final_has_full_weights_and_says_so(
    warm: Warm, tiny_flow: Callable[[str], Path], pictures: Path, tmp_path: Path
) -> None:
    run = create_run(tiny_config(tmp_path, "run", tiny_flow("z-image"), pictures, SECTIONS))
    warm.run("trainer", run.path)
    resident = RunDir(tmp_path / "resident")
    shutil.copytree(run.path, resident.path)
    warm.run("evaluator", run.path, "evaluation.blocks_to_swap=1")
    warm.run("evaluator", resident.path)
    assert steps_in(run.confirmations)
    for step in steps_in(run.confirmations):
        result = run.read_result(step, "confirmations")
        assert result
        assert result.generation["dtype"] == "float32"
        assert result.generation["blocks_to_swap"] == 1
        assert "quantization" not in result.generation, "the evaluator knows none"
    assert pictures_of(run) == pictures_of(resident), "bit for bit those of the whole model at once"
    assert check(run) == []
