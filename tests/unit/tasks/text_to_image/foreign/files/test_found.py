"""What lies in a folder of LoRAs, and what of it is whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tasks.text_to_image.foreign.files.found import Search
from tasks.text_to_image.models import lora_file
from tests.unit.tasks.text_to_image.foreign.conftest import age, write


def test_pefts_folders_are_one_lora_each_with_their_configuration(tmp_path: Path) -> None:
    for folder in (tmp_path / "checkpoint-100", tmp_path / "checkpoint-200" / "unet"):
        folder.mkdir(parents=True)
        key = "base_model.model.mid_block.attentions.0.proj_in"
        tensors = {f"{key}.lora_A.weight": np.ones((2, 4)), f"{key}.lora_B.weight": np.ones((4, 2))}
        save_file(tensors, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}), encoding="utf-8")
    first, second = Search(tmp_path).look().loras
    assert (first.label, first.name.step, len(first.files)) == ("checkpoint-100", 100, 2)
    assert second.files[0] == tmp_path / "checkpoint-200" / "unet" / "adapter_model.safetensors"


def test_a_file_without_its_end_is_found_with_its_fault(tmp_path: Path) -> None:
    path = write(tmp_path / "dress-000001.safetensors")
    path.write_bytes(path.read_bytes()[:-3])
    (found,) = Search(tmp_path).look().loras
    assert "bytes, its header says" in found.fault
    (tmp_path / "dress-000002.safetensors").write_bytes(b"\xff" * 40)
    assert Search(tmp_path).look().loras[1].fault == "is no safetensors file"


def test_what_is_no_lora_and_pickles_are_told_apart(tmp_path: Path) -> None:
    save_file({"model.diffusion_model.out.0.weight": np.ones(2)}, tmp_path / "model.safetensors")
    for name in ("dress-000001.pt", "dress.ckpt", "optimizer.pt", "random_states_0.pkl"):
        (tmp_path / name).write_bytes(b"\x80\x04")
    contents = Search(tmp_path).look()
    assert contents.loras == ()
    assert contents.others == ("model.safetensors",)
    assert contents.pickles == ("dress-000001.pt", "dress.ckpt")


def test_lokr_and_loha_are_loras_whose_evaluation_says_why_it_fails(tmp_path: Path) -> None:
    save_file(
        {"lora_unet_mid_block_attentions_0_proj_in.lokr_w1": np.ones((2, 2))}, tmp_path / "dress-000001.safetensors"
    )
    (found,) = Search(tmp_path).look().loras
    assert found.fault == ""


def test_only_files_of_the_pattern_count(tmp_path: Path) -> None:
    for name in ("dress-000001", "coat-000001"):
        write(tmp_path / f"{name}.safetensors")
    write(tmp_path / "checkpoint-100" / "pytorch_lora_weights.safetensors")
    assert [one.label for one in Search(tmp_path, "dress*").look().loras] == ["dress-000001.safetensors"]
    assert [one.name.step for one in Search(tmp_path, "checkpoint-*").look().loras] == [100]
    for pattern in ("dress-*.safetensors", "checkpoint-*/pytorch_lora_weights.safetensors"):
        assert len(Search(tmp_path, pattern).look().loras) == 1
    assert len(Search(tmp_path, "*.safetensors").look().loras) == 3


def test_a_header_is_read_once_until_its_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.text_to_image.models import lora_file  # noqa: PLC0415

    read: list[Path] = []
    real = lora_file.header
    monkeypatch.setattr(lora_file, "header", lambda path: (read.append(path), real(path))[1])
    path = write(tmp_path / "dress-000001.safetensors")
    search = Search(tmp_path)
    search.look()
    search.look()
    assert len(read) == 1
    age(path, 10)
    search.look()
    assert len(read) == 2


def test_simple_tuners_checkpoints_are_known_by_the_state_beside_them(tmp_path: Path) -> None:
    for step in (300, 600):
        write(tmp_path / f"checkpoint-{step}" / "pytorch_lora_weights.safetensors", value=step)
        (tmp_path / f"checkpoint-{step}" / "training_state.json").write_text("{}", encoding="utf-8")
    write(tmp_path / "pytorch_lora_weights.safetensors")
    assert Search(tmp_path).look().trainer == "SimpleTuner"


def test_a_trainer_is_named_where_half_of_the_files_name_it_and_none_another(tmp_path: Path) -> None:
    ours = {"modelspec.description": "LoRA of rank 2, trained with Darkroom"}
    write(tmp_path / "dress-000001.safetensors", **ours)
    write(tmp_path / "dress-000002.safetensors")
    assert Search(tmp_path).look().trainer == "Darkroom"
    write(tmp_path / "dress-000003.safetensors")
    assert Search(tmp_path).look().trainer == ""
    write(tmp_path / "dress-000003.safetensors", ss_network_module="networks.lora")
    assert Search(tmp_path).look().trainer == ""


def test_an_ending_in_capitals_is_one_too(tmp_path: Path) -> None:
    write(tmp_path / "dress-000001.safetensors").rename(tmp_path / "dress-000001.SafeTensors")
    (tmp_path / "old.PT").write_bytes(b"\x80\x04")
    contents = Search(tmp_path).look()
    assert [(one.label, one.fault) for one in contents.loras] == [("dress-000001.SafeTensors", "")]
    assert contents.pickles == ("old.PT",)
    assert lora_file.look_in(tmp_path).modules


def test_links_that_lead_nowhere_and_a_file_without_its_configuration_are_named(tmp_path: Path) -> None:
    for name in ("dress-000001.safetensors", "checkpoint-500", "notes.txt"):
        (tmp_path / name).symlink_to(tmp_path / "away" / name)
    below = tmp_path / "checkpoint-600" / "pytorch_lora_weights.safetensors"
    below.parent.mkdir()
    below.symlink_to(tmp_path / "away" / "600")
    write(tmp_path / "checkpoint-700" / "adapter_model.safetensors")
    contents = Search(tmp_path).look()
    assert contents.loras == ()
    assert contents.broken == (
        f"checkpoint-500 (a link to {tmp_path}/away/checkpoint-500, which is missing)",
        f"checkpoint-600/{below.name} (a link to {tmp_path}/away/600, which is missing)",
        "checkpoint-700 (without adapter_config.json)",
        f"dress-000001.safetensors (a link to {tmp_path}/away/dress-000001.safetensors, which is missing)",
    )
