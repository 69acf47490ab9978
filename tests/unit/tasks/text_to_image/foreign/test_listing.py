"""`run.py evaluate FOLDER --list`: what would be evaluated, without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import ConfigError
from shared.run_folder.records.best import Best
from tasks.text_to_image import foreign
from tests.unit.tasks.text_to_image.foreign.conftest import opened, write


def test_files_steps_and_the_run_are_said_and_nothing_is_created(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    foreign.show_folder(trained, said.append, base="", output=tmp_path / "runs")
    assert said == [
        f"3 LoRAs in {trained}:",
        "  step  50, epoch 1: dress-000001.safetensors",
        "  step 100, epoch 2: dress-000002.safetensors",
        "  step 150, epoch 3: dress.safetensors",
        f"they would become the run {tmp_path / 'runs' / 'dress'}; nothing has been created",
    ]
    assert not (tmp_path / "runs").exists()
    run, _ = opened(trained, tmp_path, base=str(base), references=real)
    foreign.show_folder(trained, said.append, base="", output=tmp_path / "runs")
    assert said[-1] == f"{run.path} would go on: 0 of 3 have a result; --list changes nothing"


def test_files_that_changed_since_their_evaluation_are_listed(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    run, _ = opened(trained, tmp_path, base=str(base), references=real)
    run.evaluation(100).mkdir()
    Best(step=100, snapshot="", reason="", better_than_base=True, num_evaluated=1).write(run.best)
    write(trained / "dress-000002.safetensors", value=9, ss_steps="100")
    said: list[str] = []
    foreign.show_folder(trained, said.append, base="", output=tmp_path / "runs")
    assert said[-3:-1] == [
        f"{run.path} would go on: 1 of 3 have a result; --list changes nothing",
        "changed since the evaluation: dress-000002.safetensors; the results are of what they were",
    ]
    assert said[-1].startswith(f"the best, step 100, cannot be shipped: {trained / 'dress-000002.safetensors'} is no")


def test_prompts_and_references_that_are_given_are_read(trained: Path, real: Path, tmp_path: Path) -> None:
    said: list[str] = []
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a robe at night\na robe in the rain --w 64 --h 64\n", encoding="utf-8")
    given = {"base": "", "output": tmp_path / "runs", "prompts": prompts, "references": real}
    foreign.show_folder(trained, said.append, **given)
    assert said[4:6] == [f"prompts of {prompts}: 2", f"references in {real}: 4"]
    prompts.write_text("a robe --w wide\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="has lines that are wrong"):
        foreign.show_folder(trained, print, **given)


def test_a_base_model_that_fits_none_is_said(trained: Path, base: Path, tmp_path: Path) -> None:
    for file in trained.iterdir():
        write(file, module="lora_unet_input_blocks_4_1_proj_in")
    with pytest.raises(ConfigError, match="no LoRA fits"):
        foreign.show_folder(trained, print, base=str(base), output=tmp_path / "runs")
