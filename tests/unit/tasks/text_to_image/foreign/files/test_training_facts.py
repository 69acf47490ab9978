"""What another program's LoRA tells of its training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.text_to_image.foreign.files.training_facts import training_facts
from tasks.text_to_image.models.lora_file import METADATA
from tests.unit.tasks.text_to_image.foreign.conftest import write

KOHYA = {
    "ss_network_dim": "8",
    "ss_network_alpha": "4.0",
    "ss_learning_rate": "0.0005",
    "ss_max_train_steps": "1600",
}


@pytest.mark.parametrize(
    ("base", "told"),
    [
        ("sd-v1-5.safetensors", "sd-v1-5.safetensors"),
        ("runwayml/stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5"),
        ("/home/somebody/models/sd-v1-5.safetensors", "sd-v1-5.safetensors"),
        (r"D:\\models\\sd-v1-5.safetensors", "sd-v1-5.safetensors"),
        ("None", None),
    ],
)
def test_a_header_tells_rank_alpha_base_steps_and_learning_rate(tmp_path: Path, base: str, told: str | None) -> None:
    file = write(tmp_path / "dress.safetensors", rank=8, **KOHYA, ss_sd_model_name=base)  # pyright: ignore
    expected = {"rank": 8, "lora_alpha": 4, "set_learning_rate": 0.0005, "max_train_steps": 1600}
    assert training_facts(file) == expected | ({"base_model": told} if told else {})


def test_what_it_does_not_tell_is_left_out(tmp_path: Path) -> None:
    assert training_facts(write(tmp_path / "dress.safetensors", rank=4)) == {"rank": 4}
    assert training_facts(write(tmp_path / "coat.safetensors", ss_network_alpha="None", ss_learning_rate="nan")) == {
        "rank": 2
    }
    peft = json.dumps({"unet.lora_alpha": 6, "unet.r": 2})
    hat = write(tmp_path / "hat.safetensors", **{METADATA: peft})  # pyright: ignore
    assert training_facts(hat) == {"rank": 2, "lora_alpha": 6}
    broken = tmp_path / "half.safetensors"
    broken.write_bytes(b"12")
    assert training_facts(broken) == {}
