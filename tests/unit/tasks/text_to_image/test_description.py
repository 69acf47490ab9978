"""What a LoRA file says of itself, and that what it says is true."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from safetensors import safe_open
from safetensors.torch import save_file

from shared.config.loading import parse_config
from shared.config.schema import Config
from shared.errors import ModelError
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.lora import weights_file
from tasks.text_to_image.lora.description import describe, family_of
from tasks.text_to_image.models import lora_file
from tasks.text_to_image.models.noise_schedule import NoiseSchedule, PredictionType
from tasks.text_to_image.objectives.ddpm import DDPM
from tasks.text_to_image.objectives.flow_matching import FlowMatching, Usual

EPSILON = DDPM(NoiseSchedule("epsilon"), {})


def settings(**sections: dict[str, object]) -> Config:
    tree: dict[str, dict[str, object]] = {"run": {"name": "kimono"}, "model": {"path": "/home/me/sd.safetensors"}}
    tree["data"] = {"path": "pictures", "trigger_word": "zwx"}
    return parse_config({**tree, **sections})


def test_it_names_model_step_rank_alpha_trigger_word_and_pictures() -> None:
    said = describe(settings(lora={"rank": 8, "lora_alpha": 4}), FAMILIES["sd1"], EPSILON, 40, 300)
    assert said["modelspec.sai_model_spec"] == "1.0.1"
    assert said["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert said["modelspec.title"] == "kimono step 300"
    assert said["modelspec.resolution"] == "512x512"
    assert (said["ss_network_dim"], said["ss_network_alpha"], said["ss_steps"]) == ("8", "4", "300")
    assert (said["modelspec.trigger_phrase"], said["ss_num_train_images"]) == ("zwx", "40")
    assert json.loads(said["ss_tag_frequency"]) == {"kimono": {"zwx": 40}}
    assert said["ss_sd_model_name"] == "sd.safetensors"
    assert "/home/me" not in "".join(said.values()), "where the model lies is nobody's business"


@pytest.mark.parametrize(
    ("family", "prediction", "architecture", "version"),
    [
        ("sd1", "epsilon", "stable-diffusion-v1/lora", "sd_v1"),
        ("sd2", "epsilon", "stable-diffusion-v2-512/lora", "sd_v2"),
        ("sd2", "v_prediction", "stable-diffusion-v2-768-v/lora", "sd_v2_v"),
        ("sdxl", "epsilon", "stable-diffusion-xl-v1-base/lora", "sdxl_base_v1-0"),
    ],
)
def test_each_family_has_the_names_tools_know(
    family: str, prediction: PredictionType, architecture: str, version: str
) -> None:
    said = describe(settings(), FAMILIES[family], DDPM(NoiseSchedule(prediction), {}), 4, 1)
    assert (said["modelspec.architecture"], said["ss_base_model_version"]) == (architecture, version)
    assert said["ss_v2"] == str(family == "sd2")
    assert said["modelspec.prediction_type"] == ("v" if prediction == "v_prediction" else "epsilon")
    assert family_of(said) is FAMILIES[family]


FLOW = {
    "z-image": ("Z-Image/lora", "zimage"),
    "flux1-dev": ("flux-1-dev/lora", "flux1"),
    "flux1-schnell": ("flux-1-schnell/lora", "flux1"),
    "flux1-kontext": ("flux-1-dev/lora", "flux_kontext"),
    "flux2-klein-4b": ("Flux.2-klein-4b/lora", "flux_2_klein_4b"),
    "flux2-klein-9b": ("Flux.2-klein-9b/lora", "flux_2_klein_9b"),
    "flux2-dev": ("Flux.2-dev/lora", "flux_2_dev"),
    "krea2": ("Krea-2/lora", "krea2"),
    "sd3": ("stable-diffusion-v3-medium/lora", "sd3-medium"),
    "sd3.5-large": ("stable-diffusion-v3.5-large/lora", "sd3.5-large"),
    "sd3.5-medium": ("stable-diffusion-v3.5-medium/lora", "sd3.5-medium"),
    "qwen-image": ("Qwen-Image/lora", "qwen_image"),
    "qwen-image-2.1": ("Qwen-Image-2.1/lora", "qwen_image_21"),
    "qwen-image-edit": ("Qwen-Image-Edit/lora", "qwen_image_edit"),
    "qwen-image-edit-plus": ("Qwen-Image-Edit-Plus/lora", "qwen_image_edit"),
}
OF_OTHERS = {
    "Flux.1-dev/lora flux_kontext": "flux1-kontext",
    "Krea-2/lora krea2": "krea2",
    "Z-Image/lora z_image": "z-image",
    "Qwen-Image/lora": "qwen-image",
}
"""`modelspec.architecture` and `ss_base_model_version` as musubi-tuner and OneTrainer write them."""


def test_every_flow_family_has_a_name_that_tells_it_from_all_others(tmp_path: Path) -> None:
    assert {name for name, family in FAMILIES.items() if family.kind == "flow"} == FLOW.keys()
    objective = FlowMatching(FlowMatchEulerDiscreteScheduler().config, Usual("logit_normal", 1.0), 2)
    for name, expected in FLOW.items():
        said = describe(settings(), FAMILIES[name], objective, 4, 1)
        assert (said["modelspec.architecture"], said["ss_base_model_version"]) == expected
        assert family_of(said) is FAMILIES[name]
    for words, name in OF_OTHERS.items():
        architecture, _, version = words.partition(" ")
        halves = {f"lora_{half}.weight": torch.ones(2, 2) for half in "AB"}
        header = {"modelspec.architecture": architecture, "ss_base_model_version": version}
        tensors = {f"transformer.transformer_blocks.0.attn.to_q.{half}": value for half, value in halves.items()}
        save_file(tensors, tmp_path / "lora.safetensors", header)
        assert lora_file.look(tmp_path / "lora.safetensors").family is FAMILIES[name], words


def test_zero_terminal_snr_is_the_models_own_affair_too() -> None:
    said = describe(settings(), FAMILIES["sdxl"], DDPM(NoiseSchedule("v_prediction", zero_terminal_snr=True), {}), 4, 1)
    assert said["ss_zero_terminal_snr"] == "True"
    assert (
        describe(settings(), FAMILIES["sdxl"], DDPM(NoiseSchedule("v_prediction"), {}), 4, 1)["ss_zero_terminal_snr"]
        == "False"
    )


def test_a_part_of_the_timesteps_is_said() -> None:
    assert "modelspec.timestep_range" not in describe(settings(), FAMILIES["sd1"], EPSILON, 4, 1)
    said = describe(settings(train={"min_timestep": 500}), FAMILIES["sd1"], EPSILON, 4, 1)
    assert said["modelspec.timestep_range"] == "500,999"


def test_what_is_unusual_about_captions_is_said() -> None:
    usual = describe(settings(), FAMILIES["sd1"], EPSILON, 4, 1)
    data = {"path": "pictures", "max_token_length": 150, "tag_dropout": 0.1}
    said = describe(settings(data=data, model={"path": "a/b", "clip_skip": 2}), FAMILIES["sd1"], EPSILON, 4, 1)
    unusual = {"ss_max_token_length": "150", "ss_caption_tag_dropout_rate": "0.1", "ss_clip_skip": "2"}
    assert unusual.items() <= said.items()
    assert not unusual.keys() & usual.keys()


def test_a_file_without_description_belongs_to_no_family() -> None:
    assert family_of({}) is None
    assert family_of({"modelspec.architecture": "hunyuan-dit/lora"}) is None


def test_the_hash_is_that_of_everything_behind_the_header(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(3, dtype=torch.float16)}
    path = tmp_path / "file.safetensors"
    path.write_bytes(weights_file.encode(tensors, {"title": "schön"}))
    data = path.read_bytes()
    body = data[8 + int.from_bytes(data[:8], "little") :]
    with safe_open(path, "pt") as file:
        header = file.metadata()
        assert all(torch.equal(file.get_tensor(key), value) for key, value in tensors.items())
    assert header["modelspec.hash_sha256"] == f"0x{hashlib.sha256(body).hexdigest()}"
    assert header["sshs_model_hash"] == hashlib.sha256(body).hexdigest()
    assert header["title"] == "schön"
    read, said = weights_file.read(path)
    assert (read.keys(), said) == (tensors.keys(), header)


def test_equal_content_gives_equal_bytes() -> None:
    description = {f"key {number}": str(number) for number in range(20)}
    turned = dict(reversed(list(description.items())))
    tensors = {"a": torch.ones(3), "b": torch.zeros(2, 2)}
    files = {weights_file.encode(tensors, said) for said in (description, turned) for _ in range(4)}
    assert len(files) == 1


def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file.safetensors").write_bytes(b"\x80\x04pickle" * 9)
    with pytest.raises(ModelError, match=r"file\.safetensors cannot be read"):
        weights_file.read(tmp_path / "file.safetensors")
