"""LoRAs of flow models under other programs' names: what they add is what they add there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders import Flux2LoraLoaderMixin
from diffusers.loaders.lora_pipeline import Krea2LoraLoaderMixin, QwenImageLoraLoaderMixin, ZImageLoraLoaderMixin
from safetensors.torch import load_file, save_file
from torch import Tensor

from shared.config.schema import LoraConfig, ModelConfig
from shared.errors import ConfigError, DarkroomError
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.flow import flux1_names
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.lora import fitted, lora
from tasks.text_to_image.lora.initial import Initial
from tasks.text_to_image.models import adaptable, lora_file
from tests.conftest import create_run, tiny_config
from tests.tiny_flow import MINIATURES, SIBLINGS

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


@dataclass(frozen=True)
class Layout:
    """How a trainer writes LoRAs of a family."""

    family: str
    prefix: str
    modules: dict[str, tuple[str, ...]]
    """Its name of a module → ours, in the order of outputs; empty: the same."""
    has_underscores: bool = False
    halves: tuple[str, str] = ("lora_A.weight", "lora_B.weight")
    alpha: float | None = None
    header: dict[str, str] | None = None
    reader: Any = None
    """Of diffusers, where it reads this layout too."""

    def write(self, path: Path, shapes: Mapping[str, tuple[int, int]]) -> dict[str, Tensor]:
        """Returns what is added to each of its modules. shapes: outputs, inputs."""
        tensors: dict[str, Tensor] = {}
        for module, (A, B) in updates(shapes).items():
            name = self.prefix + (module.replace(".", "_") if self.has_underscores else module)
            tensors |= {f"{name}.{self.halves[0]}": A, f"{name}.{self.halves[1]}": B}
            if self.alpha is not None:
                tensors[f"{name}.alpha"] = torch.tensor(self.alpha)
        save_file(tensors, path, self.header)
        scale = 1 if self.alpha is None else self.alpha / 2
        return {module: scale * B @ A for module, (A, B) in updates(shapes).items()}


KOHYA: dict[str, Any] = {"has_underscores": True, "halves": ("lora_down.weight", "lora_up.weight"), "alpha": 6.0}
ONETRAINER: dict[str, Any] = {"halves": ("lora_down.weight", "lora_up.weight"), "alpha": 1.0}
COMFYUI, UNET, OLDER, NONE = "diffusion_model.", "lora_unet_", "lora_transformer_", ""
QWEN: dict[str, tuple[str, ...]] = {
    f"transformer_blocks.{name}": ()
    for name in ("0.attn.to_q", "1.attn.to_out.0", "1.attn.add_k_proj", "0.img_mlp.net.0.proj", "0.txt_mlp.net.2")
}
QWEN_21: dict[str, tuple[str, ...]] = {
    "transformer_blocks.0.attn.to_v": (),
    "transformer_blocks.1.img_mlp.out": (),
    "transformer_blocks.1.img_mlp.gate_up": tuple(
        f"transformer_blocks.1.img_mlp.{layer}" for layer in ("gate_layer", "proj")
    ),
    "txt_in.in_layer": (),
    "modulation.1": (),
}
Z_IMAGE: dict[str, tuple[str, ...]] = {
    **{f"layers.0.attention.{name}": () for name in ("to_q", "to_k", "to_out.0")},
    "layers.1.feed_forward.w2": (),
    "noise_refiner.0.adaLN_modulation.0": (),
}
Z_IMAGE_OF_AUTHORS: dict[str, tuple[str, ...]] = {
    "layers.1.attention.qkv": tuple(f"layers.1.attention.to_{letter}" for letter in "qkv"),
    "layers.1.attention.out": ("layers.1.attention.to_out.0",),
    "context_refiner.0.feed_forward.w1": (),
}
KREA2: dict[str, tuple[str, ...]] = {
    "first": ("img_in",),
    "last.linear": ("final_layer.linear",),
    "tmlp.2": ("time_embed.linear_2",),
    "tproj.1": ("time_mod_proj",),
    "txtmlp.3": ("txt_in.linear_2",),
    "txtfusion.projector": ("text_fusion.projector",),
    "txtfusion.refiner_blocks.0.attn.wq": ("text_fusion.refiner_blocks.0.attn.to_q",),
    "txtfusion.layerwise_blocks.0.mlp.down": ("text_fusion.layerwise_blocks.0.ff.down",),
    "blocks.0.attn.wo": ("transformer_blocks.0.attn.to_out.0",),
    "blocks.1.attn.gate": ("transformer_blocks.1.attn.to_gate",),
    "blocks.1.mlp.gate": ("transformer_blocks.1.ff.gate",),
}
FLUX_1: dict[str, tuple[str, ...]] = {
    **{f"transformer_blocks.0.{name}": () for name in ("attn.add_q_proj", "ff_context.net.0.proj", "norm1.linear")},
    **{f"single_transformer_blocks.1.{name}": () for name in ("attn.to_k", "proj_mlp", "norm.linear")},
}
SD_35: dict[str, tuple[str, ...]] = {
    f"transformer_blocks.0.{name}": () for name in ("attn.to_q", "attn.to_add_out", "attn2.to_out.0", "ff.net.2")
}
FLUX_2: dict[str, tuple[str, ...]] = {
    **{f"transformer_blocks.0.{name}": () for name in ("attn.to_q", "ff.linear_in")},
    **{f"single_transformer_blocks.1.attn.{name}": () for name in ("to_qkv_mlp_proj", "to_out")},
}
DEV = {"modelspec.architecture": "Flux.2-dev/lora"}
LAYOUTS = {
    "musubi-tuner of Qwen-Image": Layout("qwen-image", UNET, QWEN, **KOHYA, reader=QwenImageLoraLoaderMixin),
    "ai-toolkit of Qwen-Image": Layout("qwen-image", COMFYUI, QWEN, reader=QwenImageLoraLoaderMixin),
    "DiffSynth-Studio of Qwen-Image": Layout(
        "qwen-image", NONE, QWEN, halves=("lora_A.default.weight", "lora_B.default.weight")
    ),
    "OneTrainer of Qwen-Image": Layout("qwen-image", "transformer.", QWEN, **ONETRAINER),
    "musubi-tuner of Qwen-Image 2.1": Layout("qwen-image-2.1", UNET, QWEN_21, **KOHYA),
    "ai-toolkit of Qwen-Image 2.1": Layout("qwen-image-2.1", COMFYUI, QWEN_21),
    "musubi-tuner of Z-Image": Layout("z-image", UNET, Z_IMAGE, **KOHYA, reader=ZImageLoraLoaderMixin),
    "musubi-tuner of Z-Image, converted for ComfyUI": Layout("z-image", UNET, Z_IMAGE_OF_AUTHORS, **KOHYA),
    "ai-toolkit of Z-Image": Layout("z-image", COMFYUI, Z_IMAGE, reader=ZImageLoraLoaderMixin),
    "the authors' names of Z-Image": Layout("z-image", COMFYUI, Z_IMAGE_OF_AUTHORS),
    "OneTrainer of Z-Image": Layout("z-image", "transformer.", Z_IMAGE, **ONETRAINER),
    "musubi-tuner of Krea 2": Layout("krea2", UNET, KREA2, **KOHYA),
    "ai-toolkit of Krea 2": Layout("krea2", COMFYUI, KREA2, reader=Krea2LoraLoaderMixin),
    "OneTrainer of Krea 2, for ComfyUI": Layout("krea2", COMFYUI, KREA2, alpha=1.0),
    "OneTrainer of Krea 2, original": Layout("krea2", NONE, KREA2, alpha=1.0),
    "matrices of Krea 2 without an ending": Layout("krea2", COMFYUI, KREA2, halves=("lora_A", "lora_B")),
    "OneTrainer of FLUX.1": Layout("flux1-dev", OLDER, FLUX_1, **{**ONETRAINER, "has_underscores": True}),
    "OneTrainer of SD3.5": Layout("sd3.5-medium", OLDER, SD_35, **{**ONETRAINER, "has_underscores": True}),
    "OneTrainer of FLUX.2": Layout("flux2-dev", "transformer.", FLUX_2, **ONETRAINER, header=DEV),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_other_trainers_write_is_read_under_our_names(
    name: str, tiny_flow: Callable[[str], Path], tmp_path: Path
) -> None:
    layout = LAYOUTS[name]
    family, folder = FAMILIES[layout.family], str(tiny_flow(layout.family))
    base = fitted.base_of(loading.load_model(ModelConfig(path=folder), "fp32"))
    own = {module: names or (module,) for module, names in layout.modules.items()}
    shapes = {
        module: (
            sum(base.weights[f"{family.denoiser}.{one}"][0] for one in names),
            base.weights[f"{family.denoiser}.{names[0]}"][1],
        )
        for module, names in own.items()
    }
    added = layout.write(tmp_path / "lora.safetensors", shapes)
    file = lora_file.look(tmp_path / "lora.safetensors")
    assert file.family is family
    assert adaptable.misfit(file, family, adaptable.of_files(folder)) == ""
    lora_file.check(file, LoraConfig(rank=4, target_modules="all"), family)
    found = fitted.fit(file, base)
    assert len(found.scales) == sum(map(len, own.values()))
    for module, names in own.items():
        halves = [
            found.scales[one] * found.weights[f"{one}.lora_B.weight"] @ found.weights[f"{one}.lora_A.weight"]
            for one in (f"{family.denoiser}.{each}" for each in names)
        ]
        assert torch.allclose(torch.cat(halves), added[module], atol=1e-5), module
    if layout.reader:
        read: dict[str, Tensor] = layout.reader.lora_state_dict(str(tmp_path / "lora.safetensors"))
        for one, B in found.weights.items():
            if one.endswith(".lora_B.weight"):
                ours = found.scales[one.removesuffix(".lora_B.weight")] * B @ found.weights[one.replace("_B.", "_A.")]
                assert torch.allclose(ours, read[one] @ read[one.replace("_B.", "_A.")], atol=1e-4), one


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


OWN_MODULES = {
    "z-image": ("layers.0.attention.to_q", 3840),
    "flux1-dev": ("single_transformer_blocks.0.proj_mlp", 3072),
    "flux2-klein-4b": ("single_transformer_blocks.0.attn.to_qkv_mlp_proj", 3072),
    "flux2-klein-9b": ("single_transformer_blocks.0.attn.to_qkv_mlp_proj", 4096),
    "flux2-dev": ("single_transformer_blocks.0.attn.to_qkv_mlp_proj", 6144),
    "krea2": ("transformer_blocks.0.attn.to_gate", 6144),
    "sd3.5-large": ("transformer_blocks.0.attn.to_q", 2432),
    "sd3.5-medium": ("transformer_blocks.0.attn2.to_q", 1536),
    "qwen-image": ("transformer_blocks.0.img_mlp.net.2", 12_288),
    "qwen-image-2.1": ("transformer_blocks.0.img_mlp.out", 12_288),
}
"""Family → a module that only it has, and its inputs, in the true model."""


@pytest.mark.parametrize("name", [*MINIATURES, *SIBLINGS])
def test_a_lora_of_another_family_is_refused_by_both_names_and_nothing_is_written(
    name: str, tiny_flow: Callable[[str], Path], pictures: Path, pairs: Callable[[int], Path], tmp_path: Path
) -> None:
    family, folder = FAMILIES[name], tiny_flow(name)
    others = [other for other in OWN_MODULES if not family.takes_loras_of(FAMILIES[other])]
    assert len(others) >= len(OWN_MODULES) - 1
    for other in others:
        module, inputs = OWN_MODULES[other]
        A, B = torch.ones(2, inputs), torch.ones(8, 2)
        tensors = {f"{COMFYUI}{module}.lora_A.weight": A, f"{COMFYUI}{module}.lora_B.weight": B}
        save_file(tensors, tmp_path / f"{other}.safetensors")
        with pytest.raises(ConfigError, match=f"it is for {other}, the base model is {name}$"):
            lora_file.check(lora_file.look(tmp_path / f"{other}.safetensors"), LoraConfig(), family)
    sections = {
        "lora": {"init_from": str(tmp_path / f"{others[0]}.safetensors")},
        "data": {"resolution": 64, **({"sources": "files"} if family.needs_sources else {})},
        "evaluation": {"scheduler": "own"},
    }
    config = tiny_config(tmp_path / "runs", "run", folder, pairs(1) if family.needs_sources else pictures, sections)
    with pytest.raises(ConfigError, match=f"it is for {others[0]}, the base model is {name}"):
        create_run(config)
    assert not (tmp_path / "runs").exists()


def test_a_run_begins_from_a_file_of_another_trainer(
    tiny_flow: Callable[[str], Path], pictures: Path, tmp_path: Path
) -> None:
    layout, file = LAYOUTS["musubi-tuner of Z-Image, converted for ComfyUI"], tmp_path / "lora.safetensors"
    shapes = {"layers.1.attention.qkv": (96, 32), "layers.1.attention.out": (32, 32)}
    added = layout.write(file, shapes)["layers.1.attention.qkv"]
    config = tiny_config(
        tmp_path,
        "run",
        tiny_flow("z-image"),
        pictures,
        {"lora": {"init_from": str(file)}, "evaluation": {"scheduler": "own"}},
    )
    model = loading.load_model(config.model, "fp32")
    initial = Initial.of(create_run(config), config.lora, model)
    parts = lora.adapted(model, config.lora)
    lora.attach(parts, config.lora, model.family, model.clip_skip)
    assert initial
    assert "has nothing for" in initial.apply(parts)
    weights = lora.state(parts)
    names = [f"{model.family.denoiser}.layers.1.attention.to_{letter}" for letter in "qkv"]
    halves = [weights[f"{name}.lora_B.weight"] @ weights[f"{name}.lora_A.weight"] for name in names]
    assert torch.allclose(torch.cat(halves), added, atol=1e-5)


def test_half_of_a_file_with_underscores_is_damaged(tmp_path: Path) -> None:
    layout, path = LAYOUTS["musubi-tuner of Krea 2"], tmp_path / "lora.safetensors"
    layout.write(path, dict.fromkeys(layout.modules, (8, 8)))
    tensors = load_file(path)
    del tensors["lora_unet_blocks_0_attn_wo.lora_up.weight"]
    save_file(tensors, path)
    with pytest.raises(ConfigError, match="is damaged: lora_unet_blocks_0_attn_wo has no lora_up"):
        lora_file.look(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigError, match="its header says"):
        lora_file.look(path)
