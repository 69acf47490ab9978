"""What names and headers of LoRA files say, as their programs write them."""

from __future__ import annotations

import json

import pytest

from tasks.text_to_image.foreign.files import header, names
from tasks.text_to_image.foreign.files.header import Facts
from tasks.text_to_image.foreign.files.names import Name

NAMES = {
    "my_lora-000012": Name("my_lora", epoch=12),
    "my_lora-step00000500": Name("my_lora", step=500),
    "my_lora": Name("my_lora"),
    "dress_000000500": Name("dress", step=500),
    "dress2026-01-31_12-00-00-save-500-4-20": Name("dress", step=500, epoch=4),
    "2026-01-31_12-00-00-save-500-4-20": Name("", step=500, epoch=4),
    "2026-01-31_12-00-00": Name(""),
    "checkpoint-500": Name("", step=500),
    "checkpoint-500-rolling": Name("", step=500),
    "step-00000900": Name("", step=900),
    "epoch_3": Name("", epoch=3),
    "dress_e12": Name("dress", epoch=12),
    "dress-epoch-12": Name("dress", epoch=12),
    "Dress_Step_500": Name("Dress", step=500),
    "dress-1500": Name("dress", step=1500),
    "dress-e000012-s00340": Name("dress", step=340, epoch=12),
    "dress-500-steps": Name("dress", step=500),
    "500steps": Name("", step=500),
    "dress_12_epochs": Name("dress", epoch=12),
    "shoe-v2": Name("shoe-v2"),
    "some_lace12": Name("some_lace12"),
    "route66": Name("route66"),
    "dress-final": Name("dress"),
    "final": Name(""),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_tells_its_training_and_its_number(name: str) -> None:
    assert names.read(name) == NAMES[name]


HEADERS: dict[str, tuple[dict[str, str], Facts]] = {
    "kohya": (
        {"ss_network_module": "networks.lora", "ss_steps": "500", "ss_epoch": "4"},
        Facts("kohya sd-scripts", 500, 4),
    ),
    "kohya with --no_metadata": ({"ss_network_module": "networks.lora"}, Facts("kohya sd-scripts")),
    "ai-toolkit": (
        {"training_info": json.dumps({"step": 500, "epoch": 4}), "software": json.dumps({"name": "ai-toolkit"})},
        Facts("ai-toolkit", 500, 4),
    ),
    "OneTrainer": ({"ot_branch": "master", "ot_revision": "abc"}, Facts("OneTrainer")),
    "SimpleTuner": ({"global_step": "500", "modelspec.implementation": "diffusers"}, Facts("SimpleTuner", 500)),
    "ours": (
        {
            "modelspec.description": "LoRA …, trained with Darkroom",
            "ss_network_module": "networks.lora",
            "ss_steps": "9",
        },
        Facts("Darkroom", 9),
    ),
    "diffusers": ({"format": "pt"}, Facts()),
    "what is no number": ({"ss_steps": "None", "training_info": "[1]", "ss_epoch": "0"}, Facts()),
}


@pytest.mark.parametrize("program", HEADERS)
def test_a_header_tells_the_program_and_how_far_it_had_come(program: str) -> None:
    metadata, facts = HEADERS[program]
    assert header.read(metadata) == facts
