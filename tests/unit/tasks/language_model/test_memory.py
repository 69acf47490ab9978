"""What a step is said to take is what autograd keeps; what does not fit is refused with what would."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from shared.errors import DeviceError
from tasks.language_model.models import memory, precheck, shapes
from tasks.language_model.models.files import ModelFiles
from tasks.language_model.models.memory import GIB, Load, Precision
from tasks.language_model.models.precheck import Place
from tasks.language_model.models.shapes import Shapes

SEVEN = Shapes(
    32, 4096, 11008, 4096, 32000,
    tuple([(4096, 4096)] * 4 + [(4096, 11008)] * 2 + [(11008, 4096)]) * 32,
    2 * 32000 * 4096 + 65 * 4096,
)  # fmt: skip
"""Llama 2 7B, 6.74 billion parameters (Touvron et al. 2023)."""
LOAD = Load("fp16", "none", 2048, 1, checkpointing=True, rank=16)
CARD = Place("GPU 0", 15 * GIB, is_gpu=True, natural="fp16")
CONFIGS = {
    "llama": LlamaConfig(
        hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4, vocab_size=96
    ),
    "gpt2": GPT2Config(
        n_embd=64, n_positions=64, n_layer=3, n_head=4, vocab_size=96, attn_pdrop=0, resid_pdrop=0, embd_pdrop=0
    ),
}


def kept_bytes(kind: str, precision: Precision, *, checkpointing: bool, tokens: int) -> int:
    """Storages that the backward pass needs, weights aside."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    base = AutoModelForCausalLM.from_config(CONFIGS[kind], dtype=dtype)
    model = get_peft_model(base, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")).train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    own = {one.untyped_storage().data_ptr() for one in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        if value.untyped_storage().data_ptr() not in own:
            kept[value.untyped_storage().data_ptr()] = value
        return value

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=precision != "fp32"):
        model(input_ids=torch.zeros((1, tokens), dtype=torch.long), use_cache=False)
    return sum(one.untyped_storage().nbytes() for one in kept.values())


@pytest.mark.parametrize("kind", list(CONFIGS))
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activations_are_what_autograd_keeps(kind: str, precision: Precision) -> None:
    tokens = 48
    model = shapes.read(ModelFiles(Path("none"), CONFIGS[kind].to_dict()))
    load = Load(precision, "none", tokens, 1, checkpointing=False, rank=2)
    measured = kept_bytes(kind, precision, checkpointing=False, tokens=tokens)
    assert 0.75 * measured < memory.trainer(model, load)["activations"] < 1.35 * measured
    fewer = replace(load, checkpointing=True)
    measured = kept_bytes(kind, precision, checkpointing=True, tokens=tokens)
    layer = memory.trainer(model, load)["activations"] / 3
    kept = memory.trainer(model, fewer)["activations"] - layer
    assert 0.5 * measured < kept <= measured, "and what comes after the last layer"


@pytest.mark.parametrize("kind", list(CONFIGS))
def test_parameters_are_counted_alike_from_the_configuration_and_the_weights(kind: str, tmp_path: Path) -> None:
    network = AutoModelForCausalLM.from_config(CONFIGS[kind])
    network.save_pretrained(tmp_path)
    described = CONFIGS[kind].to_dict() | {"architectures": ["x"]}
    exact, guessed = (shapes.read(ModelFiles(folder, described)) for folder in (tmp_path, tmp_path / "none"))
    assert exact.num_parameters == network.num_parameters()
    assert guessed.num_in_blocks == exact.num_in_blocks
    assert guessed.num_parameters == pytest.approx(exact.num_parameters, rel=0.25)
    model = get_peft_model(network, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert exact.num_learning(2) == sum(one.numel() for one in model.parameters() if one.requires_grad)


def test_weights_of_a_known_model_take_what_everybody_says() -> None:
    sizes = [memory.weights(SEVEN, precision, bits) / GIB for _, precision, bits in precheck.ROWS]
    assert sizes == pytest.approx([25.1, 12.55, 6.52, 3.6], abs=0.1)


def test_the_table_grows_to_the_right_and_falls_downwards() -> None:
    lines = precheck.table(SEVEN, LOAD)
    assert lines[1].split() == ["2048", "4096", "8192", "16384"]
    assert precheck.table(replace(SEVEN, max_positions=4096), LOAD)[1].split() == ["2048", "4096"]
    rows = [[float(word) for word in line.split()[1::2]] for line in lines[2:]]
    assert rows == [sorted(row) for row in rows]
    columns = [list(column) for column in zip(*rows, strict=True)]
    assert columns == [sorted(column, reverse=True) for column in columns]


def test_what_does_not_fit_is_refused_with_the_mildest_setting_that_does() -> None:
    with pytest.raises(DeviceError) as told:
        precheck.require(SEVEN, LOAD, replace(CARD, free=12 * GIB))
    assert 'set model.quantization = "8bit"' in told.value.hint
    assert "4-bit" in str(told.value)
    with pytest.raises(DeviceError) as told:
        precheck.require(SEVEN, replace(LOAD, precision="fp32", checkpointing=False, context=4096), CARD)
    changed = dict(precheck.milder(replace(LOAD, precision="fp32", checkpointing=False, context=4096), CARD))
    named = next(one for one, text in changed.items() if told.value.hint == f"set {text}")
    assert sum(memory.trainer(SEVEN, named).values()) <= CARD.free
    precheck.require(SEVEN, named, CARD)
    with pytest.raises(DeviceError, match="needs about"):
        precheck.require(SEVEN, LOAD, Place("this machine", GIB, is_gpu=False, natural="fp32"))
