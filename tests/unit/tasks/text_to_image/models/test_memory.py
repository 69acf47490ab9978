"""The estimate: counts are exact, activations near those of fake runs of the true architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from safetensors.numpy import save_file

from benchmarks.activations import training_bytes
from shared.config.loading import parse_config
from shared.config.schema import Config
from tasks.text_to_image.models import memory
from tasks.text_to_image.models.base_model import POCKET_STABLE_DIFFUSION
from tests.conftest import paper_model
from tests.true_shapes import UNETS, true_shapes

ATTENTION = ("to_k", "to_q", "to_v", "to_out.0")


def config(**sections: dict[str, Any]) -> Config:
    return parse_config({"data": {"path": "pictures"}, **sections})


@pytest.mark.parametrize(
    ("family", "unet", "text", "lora"),
    [("sd1", 859.5, 123.1, 3.19), ("sd2", 865.9, 340.4, 3.32), ("sdxl", 2567.5, 817.7, 23.22)],
)
def test_the_true_architectures_have_their_published_sizes(family: str, unet: float, text: float, lora: float) -> None:
    model = true_shapes(family)
    assert model.weights("unet") / 1e6 == pytest.approx(unet, abs=0.1)
    assert (model.weights("text_encoder") + model.weights("text_encoder_2")) / 1e6 == pytest.approx(text, abs=0.2)
    assert memory.lora_parameters(model.components["unet"], ATTENTION, 16) / 1e6 == pytest.approx(lora, abs=0.01)


def test_parameters_are_counted_from_files_as_torch_counts_them() -> None:
    model = memory.read_shapes("pocket")
    assert model
    unet = UNet2DConditionModel.from_pretrained(POCKET_STABLE_DIFFUSION / "unet")
    assert model.weights("unet") == sum(parameter.numel() for parameter in unet.parameters())
    targets = [*ATTENTION, "conv1", "ff.net.2"]
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=3, target_modules=targets))
    trained = sum(parameter.numel() for parameter in unet.parameters() if parameter.requires_grad)
    assert memory.lora_parameters(model.components["unet"], targets, 3) == trained


@pytest.mark.parametrize(
    ("family", "checkpointing"), [("sd1", False), pytest.param("sd1", True, marks=pytest.mark.slow), ("sd2", True)]
)
def test_activations_are_near_those_of_a_fake_run(family: str, checkpointing: bool) -> None:
    measured = training_bytes(UNETS[family], 2, 512, half=True, checkpointing=checkpointing)
    estimated = memory.activation_bytes(true_shapes(family), 2, 512, half=True, checkpointing=checkpointing)
    assert estimated == pytest.approx(measured, rel=0.12)


def test_a_hub_id_that_is_not_here_is_not_estimated() -> None:
    assert memory.read_shapes("nobody/nothing") is None


def test_a_single_file_is_counted_by_its_prefixes(tmp_path: Path) -> None:
    tensors = {
        "model.diffusion_model.attn1.to_q.weight": np.zeros((4, 3), np.float16),
        "first_stage_model.decoder.weight": np.zeros(5, np.float16),
        "cond_stage_model.transformer.weight": np.zeros(7, np.float16),
        "alphas_cumprod": np.zeros(1000, np.float16),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    model = memory.read_shapes(str(tmp_path / "model.safetensors"))
    assert model
    counted = {name: model.weights(name) for name in model.components}
    assert counted == {"unet": 12, "vae": 5, "text_encoder": 7}
    assert memory.lora_parameters(model.components["unet"], ("to_q",), 2) == 2 * (4 + 3)


def test_a_folder_with_a_half_precision_variant_is_counted_once(tmp_path: Path) -> None:
    folder = paper_model(tmp_path / "model")
    for name in ("model.safetensors", "model.fp16.safetensors"):
        save_file({"weight": np.zeros(9, np.float16)}, folder / "unet" / name)
    model = memory.read_shapes(str(folder))
    assert model
    assert model.weights("unet") == 9


def test_quantised_weights_count_less_and_only_in_linear_layers() -> None:
    def denoiser(quantization: str) -> float:
        settings = config(model={"quantization": quantization})
        return memory.trainer_footprint(true_shapes("sdxl"), settings, "fp16", on_gpu=True).parts["denoiser"]

    assert denoiser("none") == 2 * true_shapes("sdxl").weights("unet")
    assert denoiser("4bit") < denoiser("8bit") < denoiser("none")
    assert denoiser("4bit") > denoiser("none") / 4  # convolutions stay as they are


def test_the_peak_is_the_higher_of_encoding_and_training() -> None:
    large = config(
        data={"path": "pictures", "resolution": 1024}, train={"gradient_checkpointing": True, "train_batch_size": 1}
    )
    small = config(train={"train_batch_size": 4})
    encoding = memory.trainer_footprint(true_shapes("sd2"), large, "fp16", on_gpu=True)
    training = memory.trainer_footprint(true_shapes("sd1"), small, "fp16", on_gpu=True)
    assert (encoding.moment, training.moment) == ("encoding pictures", "training")
    assert "denoiser" not in encoding.parts
    assert "VAE" not in training.parts


def test_text_encoders_count_while_training_where_captions_are_encoded_live() -> None:
    def parts(**sections: dict[str, Any]) -> dict[str, float]:
        return memory.trainer_footprint(true_shapes("sdxl"), config(**sections), "bf16", on_gpu=True).parts

    assert "text encoders" not in parts()
    live = parts(data={"path": "pictures", "shuffle_tags": True})
    assert live["text encoders"] == pytest.approx(2 * 817.7e6, rel=1e-3)
    assert live["text encoders"] == parts(lora={"text_encoder": True})["text encoders"]


def test_the_evaluator_counts_a_segmenter_where_one_is_configured() -> None:
    def bytes_with(**evaluation: str) -> float:
        return memory.evaluator_footprint(true_shapes("sd1"), config(evaluation=evaluation), "fp16", on_gpu=True).bytes

    assert bytes_with(segmenter="owner/name") == bytes_with() + memory.SEGMENTER_BYTES


def test_the_evaluator_counts_the_weights_of_a_judge(tmp_path: Path) -> None:
    def parts(judge: str | None, *, on_gpu: bool = True) -> dict[str, float]:
        settings = config(evaluation={"judge": judge} if judge else {})
        return memory.evaluator_footprint(true_shapes("sd1"), settings, "fp16", on_gpu=on_gpu).parts

    for name, count in (("model-00001-of-00002", 300), ("model-00002-of-00002", 200)):
        save_file({"weight": np.zeros(count, np.float16)}, tmp_path / f"{name}.safetensors")
    assert "judge" not in parts(None)
    assert parts(str(tmp_path))["judge"] == 2 * 500
    assert parts(str(tmp_path), on_gpu=False)["judge"] == 4 * 500
    assert parts("nobody/nothing")["judge"] == 2 * memory.JUDGE_WEIGHTS


def test_optimizers_differ_by_what_they_keep() -> None:
    def kept(optimizer: str) -> float:
        settings = config(train={"optimizer": optimizer})
        return memory.trainer_footprint(true_shapes("sd1"), settings, "fp16", on_gpu=True).parts["optimizer"]

    assert kept("adamw") == 8 * memory.lora_parameters(true_shapes("sd1").components["unet"], ATTENTION, 16)
    assert kept("adamw8bit") < kept("adamw") == kept("RAdam") < kept("prodigy")
