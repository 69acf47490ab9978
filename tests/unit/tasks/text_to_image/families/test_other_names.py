"""LoRAs of flow models under other programs' names: what they add is what they add there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from diffusers.loaders import Flux2LoraLoaderMixin
from safetensors.torch import save_file
from torch import Tensor

from shared.config.schema import ModelConfig
from shared.errors import ConfigError, DarkroomError
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.flow import flux1_names
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.lora import fitted, lora
from tasks.text_to_image.models import adaptable, lora_file

SHAPES = {
    "double_blocks.0.img_attn.qkv": (96, 32),
    "double_blocks.1.txt_attn.proj": (32, 32),
    "double_blocks.1.txt_mlp.2": (32, 128),
    "single_blocks.0.linear1": (224, 32),
    "single_blocks.0.linear2": (32, 160),
}
"""Of the authors' modules in the miniature: outputs, inputs."""


def updates(shapes: Mapping[str, tuple[int, int]] = SHAPES) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B of each, rank 2."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return {module: (random(2, inputs), random(outputs, 2)) for module, (outputs, inputs) in shapes.items()}


def write(path: Path, form: str, shapes: Mapping[str, tuple[int, int]] = SHAPES) -> None:
    tensors: dict[str, Tensor] = {}
    for module, (A, B) in updates(shapes).items():
        if form == "kohya":
            name = f"lora_unet_{module.replace('.', '_')}"
            tensors |= {f"{name}.lora_down.weight": A, f"{name}.lora_up.weight": B, f"{name}.alpha": torch.tensor(6.0)}
        else:
            name = f"diffusion_model.{module}"
            tensors |= {f"{name}.lora_A.weight": A, f"{name}.lora_B.weight": 3 * B}
    save_file(tensors, path)


@pytest.mark.parametrize("form", ["kohya", "comfyui"])
def test_an_update_of_one_matrix_of_the_authors_is_that_of_several_here(
    form: str, tiny_flow: Callable[[str], Path], tmp_path: Path
) -> None:
    write(tmp_path / "lora.safetensors", form)
    file = lora_file.look(tmp_path / "lora.safetensors")
    assert file.family is FAMILIES["flux1-dev"]
    folder = tiny_flow("flux1-schnell")
    assert adaptable.misfit(file, FAMILIES["flux1-schnell"], adaptable.of_files(str(folder))) == ""
    found = fitted.fit(file, fitted.base_of(loading.load_model(ModelConfig(path=str(folder)), "fp32")))
    expected = 0
    for module, (A, B) in updates().items():
        whole = 3 * B @ A
        pieces = flux1_names.pieces(module)
        ours = [f"transformer.{piece.name}" for piece in pieces]
        added = [
            found.scales[name] * found.weights[f"{name}.lora_B.weight"] @ found.weights[f"{name}.lora_A.weight"]
            for name in ours
        ]
        assert torch.allclose(torch.cat(added), whole, atol=1e-5), module
        expected += len(pieces)
    assert len(found.scales) == expected == 3 + 1 + 1 + 4 + 1
    lora.write(tmp_path / "own", found.weights, found.metadata)  # as the evaluator does before it loads it
    assert lora_file.look(tmp_path / "own" / lora.LORA_FILE).modules.keys() == found.scales.keys()


SD35_SHAPES = {
    "joint_blocks.0.x_block.attn.qkv": (96, 32),
    "joint_blocks.0.x_block.attn2.proj": (32, 32),
    "joint_blocks.0.context_block.attn.qkv": (96, 32),
    "joint_blocks.0.context_block.mlp.fc2": (32, 128),
    "joint_blocks.1.x_block.mlp.fc1": (128, 32),
    "joint_blocks.1.context_block.attn.qkv": (96, 32),
    "joint_blocks.1.x_block.adaLN_modulation.1": (192, 32),
}


@pytest.mark.parametrize("form", ["kohya", "comfyui"])
def test_sd35s_authors_names_are_read_too(form: str, tiny_flow: Callable[[str], Path], tmp_path: Path) -> None:
    write(tmp_path / "lora.safetensors", form, SD35_SHAPES)
    file = lora_file.look(tmp_path / "lora.safetensors")
    assert file.family is FAMILIES["sd3.5-medium"]
    folder = tiny_flow("sd3.5-medium")
    assert adaptable.misfit(file, file.family, adaptable.of_files(str(folder))) == ""
    found = fitted.fit(file, fitted.base_of(loading.load_model(ModelConfig(path=str(folder)), "fp32")))
    assert len(found.scales) == 3 + 1 + 3 + 1 + 1 + 3 + 1
    A, B = updates(SD35_SHAPES)["joint_blocks.0.context_block.attn.qkv"]
    names = [f"transformer.transformer_blocks.0.attn.add_{letter}_proj" for letter in "qkv"]
    added = [found.scales[name] * found.weights[f"{name}.lora_B.weight"] @ A for name in names]
    assert torch.allclose(torch.cat(added), 3 * B @ A, atol=1e-5)
    assert {f"transformer.transformer_blocks.{name}" for name in ("0.attn2.to_out.0", "0.ff_context.net.2",
            "1.ff.net.0.proj", "1.norm1.linear")} <= found.scales.keys()  # fmt: skip


def test_the_last_modulation_of_sd35_whose_halves_stand_the_other_way_round_is_refused(
    tiny_flow: Callable[[str], Path], tmp_path: Path
) -> None:
    module = "joint_blocks.1.context_block.adaLN_modulation.1"
    write(tmp_path / "lora.safetensors", "kohya", {**SD35_SHAPES, module: (64, 32)})
    file = lora_file.look(tmp_path / "lora.safetensors")
    base = fitted.base_of(loading.load_model(ModelConfig(path=str(tiny_flow("sd3.5-medium"))), "fp32"))
    with pytest.raises(DarkroomError, match=rf"transformer\.{module}"):
        fitted.fit(file, base)


def test_diffusers_names_behind_comfyuis_prefix_are_read(tmp_path: Path) -> None:
    module = "layers.0.attention.to_q"
    halves = {f"{module}.lora_A.weight": torch.ones(2, 32), f"{module}.lora_B.weight": torch.ones(32, 2)}
    save_file({f"diffusion_model.{key}": value for key, value in halves.items()}, tmp_path / "lora.safetensors")
    found = lora_file.look(tmp_path / "lora.safetensors")
    assert found.family is FAMILIES["z-image"]
    assert list(found.modules) == [f"{found.family.denoiser}.{module}"]


def test_a_prefix_before_names_of_no_known_model_is_refused(tmp_path: Path) -> None:
    module = "diffusion_model.input_blocks.1.1.proj_in"
    halves = {f"{module}.lora_A.weight": torch.ones(2, 32), f"{module}.lora_B.weight": torch.ones(32, 2)}
    save_file(halves, tmp_path / "lora.safetensors")
    with pytest.raises(ConfigError, match="no LoRA of a model that is known: it holds diffusion_model"):
        lora_file.look(tmp_path / "lora.safetensors")


def test_a_file_with_these_names_that_can_be_flux_2s_is_not_taken_for_flux_1s(tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = {}
    for module, inputs in {"single_blocks.0.linear1": 3072, "single_blocks.0.linear2": 12_288}.items():
        name = f"lora_unet_{module.replace('.', '_')}"
        tensors |= {f"{name}.lora_down.weight": torch.ones(1, inputs), f"{name}.lora_up.weight": torch.ones(4, 1)}
    save_file(tensors, tmp_path / "klein.safetensors")
    assert lora_file.look(tmp_path / "klein.safetensors").family is FAMILIES["flux2-klein-4b"]


FLUX2_SHAPES = {
    "double_blocks.0.img_attn.qkv": (96, 32),
    "double_blocks.0.txt_attn.qkv": (96, 32),
    "double_blocks.0.img_attn.proj": (32, 32),
    "double_blocks.0.txt_attn.proj": (32, 32),
    "double_blocks.0.img_mlp.0": (192, 32),
    "double_blocks.0.img_mlp.2": (32, 96),
    "single_blocks.0.linear1": (288, 32),
    "single_blocks.0.linear2": (32, 128),
}
FLUX2_OUTSIDE = {"double_stream_modulation_img.lin": (192, 32)}


@pytest.mark.parametrize("form", ["kohya", "comfyui"])
def test_flux_2s_authors_names_add_what_diffusers_reads_in_them(
    form: str, tiny_flow: Callable[[str], Path], tmp_path: Path
) -> None:
    shapes = {**FLUX2_SHAPES, **({} if form == "kohya" else FLUX2_OUTSIDE)}  # diffusers reads kohya's of blocks alone
    write(tmp_path / "lora.safetensors", form, shapes)
    file = lora_file.look(tmp_path / "lora.safetensors")
    assert file.translated
    found = fitted.fit(file, fitted.base_of(loading.load_model(ModelConfig(path=str(tiny_flow("flux2-dev"))), "fp32")))
    read: dict[str, Tensor] = Flux2LoraLoaderMixin.lora_state_dict(str(tmp_path / "lora.safetensors"))
    ups = {name.removesuffix(".lora_B.weight"): value for name, value in read.items() if "lora_B" in name}
    assert found.scales.keys() == ups.keys()
    for name, B in ups.items():
        added = found.scales[name] * found.weights[f"{name}.lora_B.weight"] @ found.weights[f"{name}.lora_A.weight"]
        assert torch.allclose(added, B @ read[f"{name}.lora_A.weight"], atol=1e-4), name


def test_flux_2s_last_modulation_whose_halves_stand_the_other_way_round_is_refused(
    tiny_flow: Callable[[str], Path], tmp_path: Path
) -> None:
    module = "final_layer.adaLN_modulation.1"
    write(tmp_path / "lora.safetensors", "comfyui", {**FLUX2_SHAPES, module: (64, 32)})
    base = fitted.base_of(loading.load_model(ModelConfig(path=str(tiny_flow("flux2-dev"))), "fp32"))
    with pytest.raises(DarkroomError, match=module):
        fitted.fit(lora_file.look(tmp_path / "lora.safetensors"), base)
