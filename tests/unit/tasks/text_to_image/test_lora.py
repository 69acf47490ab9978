"""The adapter on a UNet: trainable alone, silent at first, put back only where it fits."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from shared.config.schema import LoraConfig
from shared.errors import ModelError
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.lora import lora

SETTINGS = LoraConfig(rank=2, lora_alpha=4)


@pytest.fixture
def unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=4,
        norm_num_groups=4,
    )


def predict(unet: UNet2DConditionModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    latents, text = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 3, 8, generator=generator)
    with torch.no_grad():
        return unet(latents, torch.tensor([5]), text, return_dict=False)[0]


def test_a_fresh_adapter_changes_nothing_and_trains_alone(unet: UNet2DConditionModel) -> None:
    before = predict(unet)
    lora.attach({"unet": unet}, SETTINGS, FAMILIES["sd1"])
    assert torch.equal(predict(unet), before)
    trainable = {name for name, parameter in unet.named_parameters() if parameter.requires_grad}
    assert trainable
    assert all("lora_" in name for name in trainable)
    assert len(lora.parameters(unet)) == len(trainable)


@pytest.mark.parametrize("use_dora", [False, True])
def test_b_matrices_are_those_that_are_zero_at_first(unet: UNet2DConditionModel, use_dora: bool) -> None:
    lora.attach({"unet": unet}, SETTINGS.model_copy(update={"use_dora": use_dora}), FAMILIES["sd1"])
    up, everything = lora.up_parameters(unet), lora.parameters(unet)
    assert len(up) == len(everything) // (3 if use_dora else 2)
    assert {id(value) for value in everything if not value.any()} == {id(value) for value in up}


def test_the_adapter_is_fp32_on_a_half_precision_model(unet: UNet2DConditionModel) -> None:
    unet.to(torch.bfloat16)
    lora.attach({"unet": unet}, SETTINGS, FAMILIES["sd1"])
    assert {parameter.dtype for parameter in lora.parameters(unet)} == {torch.float32}
    assert unet.conv_in.weight.dtype == torch.bfloat16


def test_a_copy_of_the_state_is_not_changed_by_training(unet: UNet2DConditionModel) -> None:
    lora.attach({"unet": unet}, SETTINGS, FAMILIES["sd1"])
    copied = lora.state({"unet": unet})
    before = {key: value.clone() for key, value in copied.items()}
    with torch.no_grad():
        for parameter in lora.parameters(unet):
            parameter.add_(1.0)
    assert all(torch.equal(copied[key], before[key]) for key in before)
    assert not any(torch.equal(value, before[key]) for key, value in lora.state({"unet": unet}).items())


def test_what_was_read_is_put_back_bit_for_bit(unet: UNet2DConditionModel) -> None:
    lora.attach({"unet": unet}, SETTINGS, FAMILIES["sd1"])
    weights = {key: torch.randn_like(value) for key, value in lora.state({"unet": unet}).items()}
    lora.restore({"unet": unet}, weights)
    restored = lora.state({"unet": unet})
    assert restored.keys() == weights.keys()
    assert all(torch.equal(restored[key], weights[key]) for key in weights)


@pytest.mark.parametrize("fault", ["shape", "missing", "extra"])
def test_another_adapter_is_not_put_back(unet: UNet2DConditionModel, fault: str) -> None:
    lora.attach({"unet": unet}, SETTINGS, FAMILIES["sd1"])
    weights = lora.state({"unet": unet})
    first = next(iter(weights))
    if fault == "shape":
        weights[first] = torch.zeros(4, weights[first].shape[1])
    elif fault == "missing":
        del weights[first]
    else:
        weights["unet.mid_block.other.lora_A.weight"] = torch.zeros(2, 2)
    with pytest.raises(ModelError, match="another adapter"):
        lora.restore({"unet": unet}, weights)


def test_targets_that_match_nothing_are_refused_with_their_names(unet: UNet2DConditionModel) -> None:
    with pytest.raises(ModelError, match=r"lora\.target_modules \['to_nowhere'\]") as caught:
        lora.attach({"unet": unet}, SETTINGS.model_copy(update={"target_modules": ("to_nowhere",)}), FAMILIES["sd1"])
    assert "attention" in caught.value.hint


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_one_value_that_is_not_finite_is_noticed(value: float) -> None:
    weights = {"a": torch.zeros(3, 3), "b": torch.zeros(5)}
    assert lora.is_finite(weights)
    weights["b"][4] = value
    assert not lora.is_finite(weights)


def test_a_file_has_no_dropout_which_would_apply_while_pictures_are_drawn(
    unet: UNet2DConditionModel, tmp_path: Path
) -> None:
    plain = copy.deepcopy(unet)
    lora.attach({"unet": unet}, SETTINGS.model_copy(update={"dropout": 0.5}), FAMILIES["sd1"])
    weights = {key: torch.randn_like(value) for key, value in lora.state({"unet": unet}).items()}
    lora.write(tmp_path, weights, lora.metadata({"unet": unet}))
    plain.load_lora_adapter(str(tmp_path / lora.LORA_FILE), prefix="unet", adapter_name=lora.ADAPTER)
    assert torch.equal(predict(plain), predict(plain))


def test_a_file_with_attention_and_other_layers_loads_whole(unet: UNet2DConditionModel, tmp_path: Path) -> None:
    plain = copy.deepcopy(unet)
    everything = LoraConfig(rank=2, lora_alpha=2, target_modules=("to_q", "to_out.0", "ff.net.2", "proj_in", "conv1"))
    lora.attach({"unet": unet}, everything, FAMILIES["sd1"])
    weights = {key: torch.randn_like(value) for key, value in lora.state({"unet": unet}).items()}
    lora.restore({"unet": unet}, weights)
    lora.write(tmp_path, weights, lora.metadata({"unet": unet}))

    plain.load_lora_adapter(str(tmp_path / lora.LORA_FILE), prefix="unet", adapter_name=lora.ADAPTER)
    held = plain.state_dict()
    for key, value in weights.items():
        name = key.removeprefix("unet.").removesuffix("weight") + f"{lora.ADAPTER}.weight"
        assert torch.equal(held[name], value), key
    assert torch.equal(predict(plain), predict(unet))


@pytest.mark.parametrize("use_dora", [False, True])
def test_weights_are_copied_without_asking_peft_each_time(
    unet: UNet2DConditionModel, use_dora: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PEFT looks at every weight of the base model; an update and a move to another device change values alone."""
    lora.attach({"unet": unet}, SETTINGS.model_copy(update={"use_dora": use_dora}), FAMILIES["sd1"])
    by_key = lora.by_key({"unet": unet})
    assert by_key
    unet.to(torch.float64).to(torch.float32)  # as a move does, this gives parameters other memory
    with torch.no_grad():
        for parameter in lora.parameters(unet):
            parameter.normal_()
    expected = lora.state({"unet": unet})
    monkeypatch.setattr(lora, "get_peft_model_state_dict", None)
    found = lora.copied(by_key)
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    assert not {value.data_ptr() for value in found.values()} & {value.data_ptr() for value in lora.parameters(unet)}


def test_what_peft_writes_beside_parameters_is_asked_of_it(
    unet: UNet2DConditionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora.attach({"unet": unet}, SETTINGS, FAMILIES["sd1"])
    whole = lora.get_peft_model_state_dict
    monkeypatch.setattr(
        lora, "get_peft_model_state_dict", lambda *args, **named: {**whole(*args, **named), "more": torch.ones(1)}
    )
    assert lora.by_key({"unet": unet}) is None
