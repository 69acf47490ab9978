"""What holds for every flow family, on the miniature of each: recognised, estimated, adapted, refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks

from shared.config.schema import LoraConfig, ModelConfig, TrainConfig
from shared.errors import ConfigError
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import lora
from tasks.text_to_image.models import base_model, memory, precheck, tokens
from tasks.text_to_image.training import activation_offload, compute
from tasks.text_to_image.weights.block_swap import BlockSwap, blocks
from tasks.text_to_image.weights.fp8 import cast_weights
from tests.conftest import create_run, tiny_config
from tests.tiny_flow import MINIATURES
from tests.tiny_flow import plain as plain_pipeline


@pytest.fixture(scope="module", params=MINIATURES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.fixture(scope="module")
def folder(family: Family, tiny_flow: Callable[[str], Path]) -> Path:
    return tiny_flow(family.name)


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    """Frozen: tests attach no adapter to it."""
    return loading.load_model(ModelConfig(path=str(folder)), "fp32")


def test_its_folder_is_recognised_and_its_captions_counted_before_anything_is_loaded(
    family: Family, folder: Path, model: Model
) -> None:
    assert base_model.family(str(folder)) is family
    assert model.family is family
    assert base_model.identify(str(folder))["fingerprint"]
    assert base_model.size_multiple(ModelConfig(path=str(folder))) == model.size_multiple
    assert model.size_multiple == MINIATURES[family.name].size_multiple
    lengths = tokens.measure(["a red dress"], ModelConfig(path=str(folder)))
    assert lengths
    assert lengths == model.token_lengths(["a red dress"])
    assert lengths.window == family.text_window


def test_its_memory_is_estimated_from_its_files(family: Family, folder: Path, model: Model, tmp_path: Path) -> None:
    shapes = memory.read_shapes(str(folder))
    assert shapes
    assert shapes.weights(family.denoiser) == sum(value.numel() for value in model.denoiser.state_dict().values())
    config = tiny_config(tmp_path, "run", folder, tmp_path, {})
    needed = memory.trainer_footprint(shapes, config, "fp32", on_gpu=False)
    assert needed.parts["activations"] > 0
    assert precheck.examine(config)


def test_captions_of_different_lengths_are_a_batch_as_they_are_alone(model: Model) -> None:
    captions = ["a dress", "a long blue coat with many buttons"]
    with torch.no_grad():
        alone = [model.encode_captions([caption]) for caption in captions]
        together = model.collate([{name: value[0] for name, value in text.items()} for text in alone])
        noisy, sigmas = latents(model, 2), torch.tensor([0.3, 0.8])
        both = model.predict(noisy, sigmas, together)
        for index, text in enumerate(alone):
            place = slice(index, index + 1)
            assert torch.allclose(both[place], model.predict(noisy[place], sigmas[place], text), atol=1e-5)


def test_every_module_of_the_largest_preset_gets_a_gradient_and_diffusers_reads_it_without_a_warning(
    family: Family, folder: Path, tmp_path: Path
) -> None:
    settings = LoraConfig.model_validate({"rank": 2, "lora_alpha": 3, "target_modules": "all"})
    model = loading.load_model(ModelConfig(path=str(folder)), "fp32")
    expected = lora.expected_shapes(model, settings)
    parts = lora.adapted(model, settings)
    lora.attach(parts, settings, family)
    assert lora.shapes(parts) == expected
    ups = [value for part in parts.values() for value in lora.up_parameters(part)]
    conditioning = model.encode_captions(["a red dress", "blue"])
    model.predict(latents(model, 2), torch.tensor([0.3, 0.8]), conditioning).square().mean().backward()
    assert all(value.grad is not None and value.grad.abs().max() > 0 for value in ups)
    lora.write(tmp_path, lora.state(parts), lora.metadata(parts))
    plain: Any = plain_pipeline(folder)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="peft")
        plain.load_lora_weights(tmp_path)
    denoiser = getattr(plain, family.denoiser)
    assert len([name for name, _ in denoiser.named_parameters() if ".lora_A." in name]) == len(ups)


def test_swapped_blocks_give_the_same_gradients_and_fp8_similar_ones(family: Family, folder: Path) -> None:
    model, narrow = (with_adapter(family, folder) for _ in range(2))
    conditioning = model.encode_captions(["a red dress", "blue"])

    def gradient(model: Model) -> torch.Tensor:
        model.predict(latents(model, 2), torch.tensor([0.3, 0.8]), conditioning).square().mean().backward()
        found = [value.grad.flatten() for value in lora.parameters(model.denoiser) if value.grad is not None]
        model.denoiser.zero_grad()
        return torch.cat(found)

    whole, shapes = gradient(model), memory.read_shapes(str(folder))
    assert shapes
    assert len(memory.blocks(shapes)) == len(blocks(model.denoiser)), "told from the file"
    kept = Kept()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activation_offload, "save_on_cpu", lambda **_: kept.on_host())
        compute.configure({"transformer": model.denoiser}, TrainConfig(gradient_checkpointing="offload"))
        assert torch.equal(gradient(model), whole), "what blocks start from waits on the host"
    assert len(kept.shapes) >= len(blocks(model.denoiser))
    compute.configure({"transformer": model.denoiser}, TrainConfig(gradient_checkpointing=True))
    BlockSwap(model.denoiser, len(blocks(model.denoiser)), torch.device("cpu"))
    assert torch.equal(gradient(model), whole)
    assert torch.equal(gradient(model), whole), "and again, from the other end"
    cast_weights(narrow.denoiser, torch.float32)
    assert 0.98 < torch.cosine_similarity(gradient(narrow), whole, dim=0) < 1


class Kept:
    """What torch is asked to keep on the host."""

    def __init__(self) -> None:
        self.shapes: list[torch.Size] = []

    @contextmanager
    def on_host(self) -> Iterator[None]:
        """Keep the copies of torch's own context, and note their shapes."""
        copies = save_on_cpu(pin_memory=True)

        def pack(tensor: torch.Tensor) -> Any:
            self.shapes.append(tensor.shape)
            return copies.pack_hook(tensor)

        with saved_tensors_hooks(pack, copies.unpack_hook):
            yield


def with_adapter(family: Family, folder: Path) -> Model:
    """As the trainer has it, with checkpointing; the same numbers each time."""
    model, settings = loading.load_model(ModelConfig(path=str(folder)), "fp32"), LoraConfig(rank=2, lora_alpha=2)
    parts = lora.adapted(model, settings)
    torch.manual_seed(0)
    lora.attach(parts, settings, family)
    compute.configure(parts, TrainConfig(gradient_checkpointing=True))
    model.denoiser.train()
    return model


def test_what_does_not_suit_it_is_one_error_before_the_run_is_made(
    family: Family, folder: Path, pictures: Path, tmp_path: Path
) -> None:
    sections: dict[str, dict[str, object]] = {
        "train": {"snr_gamma": 5.0},
        "lora": {"text_encoder": True},
        "data": {"max_token_length": 150},
        "model": {"mixed_precision": "fp16"},
        "evaluation": {"dtype": "fp16"},
    }
    keys = ["train.snr_gamma", "lora.text_encoder", "data.max_token_length", "evaluation.scheduler"]
    if family.overflows_in_fp16:
        keys += ["model.mixed_precision", "evaluation.dtype"]
    if family.needs_sources:
        keys += ["data.sources"]
    with pytest.raises(ConfigError, match=f"{len(keys)} settings do not suit {family.title}") as refused:
        create_run(tiny_config(tmp_path, "run", folder, pictures, sections))
    assert all(key in str(refused.value) and key in refused.value.hint for key in keys)
    assert list(tmp_path.iterdir()) == []


def latents(model: Model, count: int) -> torch.Tensor:
    """Noise for pictures of 32 × 32."""
    shape = model.encode_pixels(torch.zeros(count, 3, 32, 32))[0].shape
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
