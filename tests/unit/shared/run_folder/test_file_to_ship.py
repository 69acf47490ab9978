"""What a person takes away is the file that the trainer wrote."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.files.publication import publish
from shared.run_folder import file_to_ship as module
from shared.run_folder.file_to_ship import file_state, file_to_ship, is_gone, why_not_shippable
from shared.run_folder.records.manifest import Manifest
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


def test_another_trainers_file_is_known_to_be_another_one_and_is_read_only_if_its_time_differs(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "dress.safetensors"
    file.write_bytes(b"weights")
    manifest = Manifest(kind="snapshot", run_id=run.read_record().run_id, step=20)
    publish(run.staging, run.snapshot(20), manifest, lambda folder: (folder / file.name).symlink_to(file))
    read: list[Path] = []
    real = module.sha256
    monkeypatch.setattr(module, "sha256", lambda path: (read.append(path), real(path))[1])
    assert (file_state(run, 20), read) == ("same", [])
    os.utime(file, (1, 1))
    assert [file_state(run, 20), file_state(run, 20), read] == ["same", "same", [file]], "it was touched, and read once"
    assert why_not_shippable(run, 20) == ""
    file.write_bytes(b"another")
    assert file_state(run, 20) == "changed"
    assert why_not_shippable(run, 20).startswith(f"{file} is no longer the LoRA that was evaluated: restore it")
    file.unlink()
    assert file_state(run, 20) == "gone"
    file.write_bytes(b"weights")
    assert file_state(run, 20) == "same"
