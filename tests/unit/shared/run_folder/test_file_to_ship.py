"""What a person takes away is the file that the trainer wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.run_folder.file_to_ship import file_to_ship, is_gone
from shared.run_folder.run_dir import RunDir
from tests.conftest import RunMaker


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


def link(run: RunDir, step: int, folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
        (run.snapshot(step) / name).parent.mkdir(parents=True, exist_ok=True)
        (run.snapshot(step) / name).symlink_to(folder / name)


def test_of_another_trainers_loras_it_is_the_file_or_the_folder_where_they_lie(run: RunDir, tmp_path: Path) -> None:
    checkpoint, peft, parts = tmp_path / "checkpoint-300", tmp_path / "peft", tmp_path / "parts"
    link(run, 300, checkpoint, "pytorch_lora_weights.safetensors")
    link(run, 400, peft, "adapter_model.safetensors", "adapter_config.json")
    link(run, 500, parts, "unet/adapter_model.safetensors", "unet/adapter_config.json")
    assert file_to_ship(run, 300) == checkpoint / "pytorch_lora_weights.safetensors"
    assert file_to_ship(run, 400) == peft
    assert file_to_ship(run, 500) == parts
    (parts / "unet" / "adapter_config.json").unlink()
    assert [is_gone(run, step) for step in (300, 400, 500)] == [False, False, True]


def test_of_a_runs_own_snapshot_it_is_its_file_and_without_one_its_folder(run: RunDir) -> None:
    folder = run.snapshot(20)
    assert file_to_ship(run, 20) == folder
    folder.mkdir(parents=True)
    (folder / "pytorch_lora_weights.safetensors").touch()
    assert file_to_ship(run, 20) == folder / "pytorch_lora_weights.safetensors"
