"""`run.py evaluate FOLDER --list`: what would be evaluated, without a trace."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ConfigError, RunFolderError
from shared.run_folder.records.best import Best
from tasks.text_to_image import foreign
from tests.unit.tasks.text_to_image.foreign.conftest import of_pictures, opened, shown, write


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


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"overrides": ("evaluation.num_sedes=1", "evaluation.num_prompts=abc")}, "num_prompts(.|\n)*num_sedes"),
    ({"profile": "person"}, "--profile person compares with the pictures that were trained on"),
]


@pytest.mark.parametrize(("given", "complaint"), WRONG)
def test_what_is_given_is_checked_for_a_new_run_and_one_that_goes_on(
    trained: Path, base: Path, real: Path, tmp_path: Path, given: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        shown(trained, tmp_path, **given)
    opened(trained, tmp_path, base=str(base), references=real)
    with pytest.raises(ConfigError, match=complaint):
        shown(trained, tmp_path, **given)


def test_references_that_were_trained_on_are_told(trained: Path, real: Path, tmp_path: Path) -> None:
    said = shown(trained, tmp_path, references=real, train_pictures=real)
    assert "4 reference(s) look like pictures that were trained on, such as references/0 like training/0" in said[-2]
    assert said[-1].endswith("nothing has been created")
    assert not (tmp_path / "runs").exists()


def test_what_the_run_cannot_take_is_refused_and_pictures_that_were_moved_are_not(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    run, _ = opened(trained, tmp_path, base=str(base), references=real)
    run.evaluation(0).mkdir()
    before = sorted(tmp_path.rglob("*"))
    pictures = of_pictures(tmp_path / "pictures", 5, 2)
    with pytest.raises(RunFolderError, match="was made with other pictures than --train-pictures") as refused:
        shown(trained, tmp_path, train_pictures=pictures)
    assert refused.value.hint.endswith("--new`")
    with pytest.raises(RunFolderError, match=r"evaluation\.num_seeds was 2, is 3, which can never"):
        shown(trained, tmp_path, overrides=("data.resolution=32", "evaluation.num_seeds=3"))
    shutil.rmtree(pictures)
    assert "would go on" in shown(trained, tmp_path, references=real)[-1]
    there = shutil.copytree(real, tmp_path / "moved")
    assert "would go on" in shown(trained, tmp_path, references=there)[-1]
    shutil.rmtree(there)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_base_model_that_fits_none_is_said(trained: Path, base: Path, tmp_path: Path) -> None:
    for file in trained.iterdir():
        write(file, module="lora_unet_input_blocks_4_1_proj_in")
    with pytest.raises(ConfigError, match="no LoRA fits"):
        foreign.show_folder(trained, print, base=str(base), output=tmp_path / "runs")
