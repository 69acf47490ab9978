"""Presets of target modules: what each stands for, on the architectures themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from peft import LoraConfig as PeftConfig
from torch import nn

from shared.config import schema, targets
from shared.config.loading import parse_config
from shared.errors import ConfigError
from shared.launch.resume import Resume
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.lora import lora
from tasks.text_to_image.models import base_model, memory
from tests.conftest import RunMaker, open_or_create, paper_model, tiny_config
from tests.true_shapes import UNETS, true_shapes


@pytest.fixture(scope="module", params=tuple(UNETS))
def blank(request: pytest.FixtureRequest, tiny_models: Path) -> Callable[[], UNet2DConditionModel]:
    """A UNet without numbers."""
    settings = json.loads((tiny_models / request.param / "unet" / "config.json").read_text())

    def make() -> UNet2DConditionModel:
        with torch.device("meta"):
            return UNet2DConditionModel.from_config(settings)

    return make


def settings(target_modules: object, **others: object) -> schema.LoraConfig:
    return schema.LoraConfig.model_validate({"target_modules": target_modules, **others})


def adapted(unet: Any, target_modules: object) -> set[str]:
    with torch.device("meta"):
        lora.attach({"unet": unet}, settings(target_modules), FAMILIES["sd1"])
    return {key.removeprefix("unet.").partition(".lora_")[0] for key in lora.shapes({"unet": unet})}


def layers(unet: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in unet.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))}


def test_attention_is_the_default(blank: Callable[[], UNet2DConditionModel]) -> None:
    assert settings("attention") == schema.LoraConfig()
    ends = (".to_q", ".to_k", ".to_v", ".to_out.0")
    assert adapted(blank(), "attention") == {name for name in layers(blank()) if name.endswith(ends)}


def test_transformer_is_every_layer_of_the_transformer_blocks(blank: Callable[[], UNet2DConditionModel]) -> None:
    blocks = {name: block for name, block in blank().named_modules() if isinstance(block, Transformer2DModel)}
    inside = {f"{start}.{name}" for start, block in blocks.items() for name in layers(block)}
    assert inside
    assert adapted(blank(), "transformer") == inside


def test_all_is_every_linear_layer_and_convolution(blank: Callable[[], UNet2DConditionModel]) -> None:
    assert adapted(blank(), "all") == set(layers(blank()))


def test_all_linear_is_what_peft_takes_it_for(blank: Callable[[], UNet2DConditionModel]) -> None:
    with torch.device("meta"):
        unet = blank()
        unet.requires_grad_(False)
        unet.add_adapter(PeftConfig(target_modules="all-linear"), adapter_name=lora.ADAPTER)
    expected = {key.removeprefix("unet.").partition(".lora_")[0] for key in lora.shapes({"unet": unet})}
    assert adapted(blank(), "all-linear") == expected


def test_presets_and_suffixes_mix(blank: Callable[[], UNet2DConditionModel]) -> None:
    mixed = adapted(blank(), ["all-linear", "conv_in", "attn1.to_q"])
    assert mixed == adapted(blank(), "all-linear") | {"conv_in"}
    assert settings(["attention", "to_q", "conv1"]).target_modules == (*targets.ATTENTION, "conv1")


@pytest.mark.parametrize(
    ("family", "millions"),
    [("sd1", (3.19, 6.78, 6.82, 16.93)), ("sd2", (3.32, 6.91, 7.75, 17.06)), ("sdxl", (23.22, 42.56, 43.30, 49.41))],
)
def test_the_numbers_of_the_guide_are_counted(family: str, millions: tuple[float, ...]) -> None:
    for preset, number in zip(("attention", "transformer", "all-linear", "all"), millions, strict=True):
        found = memory.adapter_parameters(true_shapes(family), settings(preset))
        assert found / 1e6 == pytest.approx(number, abs=0.005), preset


@pytest.mark.parametrize("preset", ["all", "all-linear"])
@pytest.mark.parametrize("family", tuple(UNETS))
def test_the_memory_estimate_counts_the_same_modules_in_folders_and_single_files(
    tiny_models: Path, tiny_single_files: Path, family: str, preset: str
) -> None:
    unet = json.loads((tiny_models / family / "unet" / "config.json").read_text())
    asked = settings(preset, rank=3, conv_rank=2 if preset == "all" else None)
    with torch.device("meta"):
        part = UNet2DConditionModel.from_config(unet)
        lora.attach({"unet": part}, asked, FAMILIES["sd1"])
    expected = sum(shape.numel() for shape in lora.shapes({"unet": part}).values())
    for path in (tiny_models / family, tiny_single_files / f"{family}.safetensors"):
        model = memory.read_shapes(str(path))
        assert model
        assert memory.adapter_parameters(model, asked) == expected, path


def test_convolutions_may_have_their_own_rank_and_alpha(tiny_model: Path) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(json.loads((tiny_model / "unet" / "config.json").read_text()))
        plain = layers(unet)
        lora.attach({"unet": unet}, settings("all", rank=6, lora_alpha=3, conv_rank=2), FAMILIES["sd1"])
    weights, metadata = lora.shapes({"unet": unet}), lora.metadata({"unet": unet})
    found = {name: (module, weights[f"unet.{name}.lora_A.weight"][0]) for name, module in plain.items()}
    for name, (module, rank) in found.items():
        wide = isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
        assert rank == (2 if wide else 6), name
        assert lora.rank_and_alpha(f"unet.{name}", metadata) == ((2, 1.0) if wide else (6, 3.0)), (
            "the scale is the same"
        )
        assert lora.scale(f"unet.{name}", metadata) == 0.5
    assert {rank for _, rank in found.values()} == {2, 6}


@pytest.mark.parametrize("key", ["conv_rank", "conv_alpha"])
def test_a_rank_for_convolutions_needs_some(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"lora\.{key} is 4.*no convolution.*= \"all\""):
        parse_config({"data": {"path": "p"}, "lora": {"target_modules": "transformer", key: 4}})
    assert settings("attention", conv_rank=False) == schema.LoraConfig()
    assert settings(["attention", "resnets.0.conv1"], conv_rank=4).rank_and_alpha(convolution=True) == (4, 4.0)


def test_an_unknown_target_is_refused_with_the_nearest_before_anything_is_made(tmp_path: Path, pictures: Path) -> None:
    asked = {"lora": {"target_modules": ["transformers", "to_out", "attn1.to_q", "net.2", "zzz"]}}
    made = tiny_config(tmp_path / "runs", "run", paper_model(tmp_path / "model"), pictures, asked)
    with pytest.raises(ConfigError) as refused:
        open_or_create(made, Resume(), lambda text: None, lambda: None)
    assert str(refused.value).splitlines() == [
        "lora.target_modules has 'transformers', which the model does not have: did you mean transformer?",
        "       lora.target_modules has 'to_out', which the model does not have: did you mean to_out.0?",
        "       lora.target_modules has 'zzz', which the model does not have",
    ]
    assert "transformer" in refused.value.hint
    assert not (tmp_path / "runs").exists()


def test_what_another_family_has_is_unknown_to_this_one() -> None:
    base_model.require_known_targets(["feed_forward.w1", "proj_in"], FAMILIES["z-image"])
    base_model.require_known_targets(["feed_forward.w1"], None)
    with pytest.raises(ConfigError, match=r"'feed_forward\.w1', which the model does not have"):
        base_model.require_known_targets(["feed_forward.w1"], FAMILIES["sdxl"])


def test_a_preset_comes_back_from_the_run_folder_as_it_was(tmp_path: Path, pictures: Path) -> None:
    for number, asked in enumerate(("transformer", ["all-linear", "conv1"])):
        sections: dict[str, dict[str, object]] = {"lora": {"target_modules": asked}}
        made = tiny_config(tmp_path / "runs", f"run-{number}", paper_model(tmp_path / "model"), pictures, sections)
        run = open_or_create(made, Resume(), lambda text: None, lambda: None)
        assert run.read_config().lora == made.lora


@pytest.mark.parametrize(
    ("lora_settings", "complaint", "cure"),
    [
        ({"target_modules": "transformer"}, "has convolutions: proj_in, proj_out", 'target_modules = "all-linear"'),
        ({"target_modules": ["to_k", "conv1"]}, "has convolutions: conv1", 'target_modules = "all-linear"'),
        ({"use_dora": True}, "lora.use_dora adds vectors", "lora.use_dora = false"),
    ],
)
def test_muon_is_given_matrices_only_before_a_run_is_made(
    make_paper_run: RunMaker, tmp_path: Path, lora_settings: dict[str, Any], complaint: str, cure: str
) -> None:
    with pytest.raises(ConfigError, match=f"takes matrices only, but .*{complaint}") as refused:
        make_paper_run(lora=lora_settings, train={"optimizer": "Muon"})
    assert cure in refused.value.hint
    assert not (tmp_path / "runs").exists()


def test_muon_takes_linear_projections_and_other_optimizers_take_all() -> None:
    names = targets.PRESETS["transformer"]
    targets.require_matrices(names, "muon", linear_projections=True, use_dora=False)
    targets.require_matrices(targets.PRESETS["all"], "adamw", linear_projections=False, use_dora=True)
    targets.require_matrices((targets.ALL_LINEAR,), "torch.optim.Muon", linear_projections=False, use_dora=False)
