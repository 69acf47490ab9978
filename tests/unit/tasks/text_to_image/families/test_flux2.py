"""FLUX.2 klein and dev, on miniatures of their true classes: what each computes and recognises."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from shared.config.schema import DataConfig, EvaluationConfig, LoraConfig, ModelConfig
from shared.errors import ConfigError, ModelError
from tasks.text_to_image.families import loading, source_latents
from tasks.text_to_image.families.family import Family
from tasks.text_to_image.families.flow.packing import pack, unpack
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.families.model import Model
from tasks.text_to_image.lora import lora
from tasks.text_to_image.models import base_model, lora_file, memory
from tests.tiny_flow.flux2 import write_file

KLEIN, LARGER, DEV = (FAMILIES[name] for name in ("flux2-klein-4b", "flux2-klein-9b", "flux2-dev"))
HEIGHT, WIDTH = 32, 48
LATENTS = (1, 4, HEIGHT // 4, WIDTH // 4)


@pytest.fixture(scope="module", params=[KLEIN, DEV], ids=lambda family: family.name)
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


@pytest.fixture(scope="module")
def folder(family: Family, tiny_flow: Callable[[str], Path]) -> Path:
    return tiny_flow(family.name)


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return loaded(ModelConfig(path=str(folder)))


@pytest.fixture(scope="module")
def file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The transformer alone, in the layout of its authors."""
    path = tmp_path_factory.mktemp("file") / "flux2.safetensors"
    write_file(DiffusionPipeline.from_pretrained(folder), path)
    return path


def loaded(settings: ModelConfig) -> Model:
    return loading.load_model(settings, "fp32")


def noise() -> torch.Tensor:
    return torch.randn(LATENTS, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("hub_id", "family"),
    [
        ("black-forest-labs/FLUX.2-klein-4B", KLEIN),
        ("black-forest-labs/FLUX.2-klein-base-4B", KLEIN),
        ("somebody/flux2-klein-of-mine", KLEIN),
        ("black-forest-labs/FLUX.2-klein-base-9B", LARGER),
        ("black-forest-labs/FLUX.2-dev", DEV),
    ],
)
def test_a_hub_id_that_is_not_here_yet_is_guessed_by_its_name(hub_id: str, family: Family) -> None:
    assert base_model.guess_family(hub_id) is family


@pytest.mark.parametrize("num_sources", [0, 2])
def test_one_step_of_its_pipeline_is_one_call_of_the_family(model: Model, num_sources: int) -> None:
    """On a picture that is not square, with sources of other shapes: rows and columns have their own places."""
    gradient = Image.radial_gradient("L").convert("RGB")
    sources = [gradient.resize(size) for size in ((64, 96), (72, 64))][:num_sources]
    with torch.no_grad():
        pixels = [model.pipeline.image_processor.preprocess(source) for source in sources]
        seen = source_latents.named([model.scale_latents(model.encode_pixels(one)[0]) for one in pixels])
        velocity = model.predict(noise(), torch.ones(1), model.encode_captions(["a red dress"]) | seen)
        patches = pack(noise()).mT.unflatten(2, (HEIGHT // 8, WIDTH // 8))
        drawn = model.pipeline(
            **model.prompt_arguments(["a red dress"]),
            **model.family.source_arguments(sources, (WIDTH, HEIGHT)),
            latents=patches,
            num_inference_steps=1,
            guidance_scale=1.0,
            height=HEIGHT,
            width=WIDTH,
            output_type="pt",
        ).images
        expected = decoded(model, noise() - velocity)
    assert torch.allclose(drawn, expected, atol=1e-5)


def test_sources_are_as_large_as_the_pipeline_leaves_them(model: Model) -> None:
    def sizes(resolution: int, sources: str = "files") -> list[tuple[int, int]]:
        return model.family.source_sizes(
            DataConfig.model_validate({"path": "p", "resolution": resolution, "sources": sources}), 16
        )

    assert max(width * height for width, height in sizes(2048)) == 1024**2
    assert min(min(size) for size in sizes(96)) == 64
    with pytest.raises(ConfigError, match=r"data\.resolution is 32, and .* takes no source with sides of less than 64"):
        sizes(32)
    assert sizes(32, "off") == [(64, 64)], "for prompts with sources"


def decoded(model: Model, latents_BCHW: torch.Tensor) -> torch.Tensor:
    """0…1."""
    vae: Any = model.pipeline.vae
    deviations = (vae.bn.running_var + vae.config.batch_norm_eps).sqrt()
    own = unpack(pack(latents_BCHW) * deviations + vae.bn.running_mean, *latents_BCHW.shape[-2:])
    return (vae.decode(own).sample / 2 + 0.5).clamp(0, 1)


def test_latents_are_scaled_as_the_pipeline_unscales_them(model: Model) -> None:
    own = noise()
    assert not torch.allclose(model.scale_latents(own), own, atol=0.1)
    with torch.no_grad():
        expected = (model.pipeline.vae.decode(own).sample / 2 + 0.5).clamp(0, 1)
        assert torch.allclose(decoded(model, model.scale_latents(own)), expected, atol=1e-5)


def test_padding_is_kept_because_it_is_attended_to(model: Model) -> None:
    with torch.no_grad():
        states = model.encode_captions(["a red dress", "blue"])["hidden_states"]
        assert states.shape == (2, 512, 48)
        noisy, sigmas = noise().expand(2, -1, -1, -1), torch.tensor([0.3, 0.8])
        both = model.predict(noisy, sigmas, {"hidden_states": states})
        cut = model.predict(noisy, sigmas, {"hidden_states": states[:, :500]})
        alone = model.predict(noisy[:1], sigmas[:1], {"hidden_states": states[:1]})
    assert torch.allclose(both[:1], alone, atol=1e-5)
    assert not torch.allclose(both, cut, atol=1e-5)


def test_all_is_every_matrix(model: Model) -> None:
    matrices = {name for name, module in model.denoiser.named_modules() if isinstance(module, torch.nn.Linear)}
    shapes = lora.expected_shapes(model, LoraConfig.model_validate({"rank": 1, "target_modules": "all"}))
    assert {key.partition(".lora_")[0].removeprefix("transformer.") for key in shapes} == matrices


def test_attention_is_adapted_in_blocks_of_both_kinds(family: Family, model: Model) -> None:
    names = {key.partition(".lora_")[0] for key in lora.expected_shapes(model, LoraConfig())}
    assert {name.partition(".")[2] for name in names} >= {
        *(f"transformer_blocks.0.attn.{end}" for end in ("to_q", "to_out.0", "add_k_proj", "to_add_out")),
        *(f"single_transformer_blocks.1.attn.{end}" for end in ("to_qkv_mlp_proj", "to_out")),
    }
    shapes = memory.read_shapes(str(model.pipeline.config["_name_or_path"]))
    assert shapes
    counted = memory.adapter_parameters(shapes, LoraConfig())
    assert counted == sum(shape.numel() for shape in lora.expected_shapes(model, LoraConfig()).values())


def test_a_file_of_the_transformer_is_completed_from_a_folder(
    family: Family, folder: Path, file: Path, model: Model
) -> None:
    assert base_model.family(str(file)) is family
    assert base_model.size_multiple(ModelConfig(path=str(file))) == 16
    ours = loaded(ModelConfig(path=str(file), single_file_config=str(folder))).denoiser.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in model.denoiser.state_dict().items())
    shapes, expected = memory.read_shapes(str(file), described=str(folder)), memory.read_shapes(str(folder))
    assert shapes
    assert expected
    for preset in ("attention", "all"):
        settings = LoraConfig.model_validate({"target_modules": preset})
        assert memory.adapter_parameters(shapes, settings) == memory.adapter_parameters(expected, settings) > 0
    assert shapes.weights("transformer") == expected.weights("transformer")


def test_a_file_with_comfyuis_prefix_and_other_parts_is_the_same(
    family: Family, folder: Path, file: Path, model: Model, tmp_path: Path
) -> None:
    prefixed = {f"model.diffusion_model.{name}": value for name, value in load_file(file).items()}
    save_file(prefixed | {"vae.decoder.conv_in.weight": torch.zeros(4, 4)}, tmp_path / "all.safetensors")
    whole = str(tmp_path / "all.safetensors")
    assert base_model.family(whole) is family
    found = loaded(ModelConfig(path=whole, single_file_config=str(folder)))
    ours = found.denoiser.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in model.denoiser.state_dict().items())
    assert "holds VAE too" in found.notices[0]
    shapes, expected = (memory.read_shapes(place, described=str(folder)) for place in (whole, str(file)))
    assert shapes == expected


def test_a_file_in_scaled_8_bits_is_refused_by_name(file: Path, tmp_path: Path) -> None:
    tensors = load_file(file) | {"double_blocks.0.img_attn.qkv.weight_scale": torch.ones(1)}
    save_file(tensors, tmp_path / "fp8.safetensors")
    with pytest.raises(ModelError, match="8 bits with scales of their own"):
        base_model.family(str(tmp_path / "fp8.safetensors"))


@pytest.mark.parametrize(
    ("width", "expected", "family"),
    [(3072, KLEIN, KLEIN), (4096, LARGER, KLEIN), (6144, DEV, DEV)],
    indirect=["family"],
)
def test_sizes_are_told_apart_in_folders_files_and_loras(
    width: int, expected: Family, family: Family, folder: Path, file: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "model")
    config = tmp_path / "model" / "transformer" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_attention_heads": width // 16}))
    assert base_model.family(str(tmp_path / "model")) is expected
    save_file({**load_file(file), "img_in.weight": torch.zeros(width, 1)}, tmp_path / "file.safetensors")
    assert base_model.family(str(tmp_path / "file.safetensors")) is expected
    name = "transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj"
    halves = {f"{name}.lora_A.weight": torch.zeros(1, width), f"{name}.lora_B.weight": torch.zeros(1, 1)}
    save_file(halves, tmp_path / "lora.safetensors")
    assert lora_file.look(tmp_path / "lora.safetensors").family is expected


@pytest.mark.parametrize("family", [KLEIN, LARGER, DEV], ids=lambda family: family.name)
def test_a_lora_of_the_first_blocks_alone_is_told_by_its_header(family: Family, tmp_path: Path) -> None:
    name = "transformer.transformer_blocks.0.attn.to_q"
    halves = {f"{name}.lora_A.weight": torch.zeros(1, 3072), f"{name}.lora_B.weight": torch.zeros(1, 1)}
    save_file(halves, tmp_path / "lora.safetensors", family.header("flow"))
    assert lora_file.look(tmp_path / "lora.safetensors").family is family


def test_a_distilled_klein_is_told_by_its_folder_or_its_name(tiny_flow: Callable[[str], Path], tmp_path: Path) -> None:
    told = KLEIN.caution("black-forest-labs/FLUX.2-klein-4B", EvaluationConfig())
    assert told
    assert "train black-forest-labs/FLUX.2-klein-base-4B and draw with the distilled model" in told
    assert KLEIN.caution("black-forest-labs/FLUX.2-klein-base-4B", EvaluationConfig()) is None
    assert KLEIN.caution(str(tiny_flow(KLEIN.name)), EvaluationConfig()) is None, "its folder says that it is not"
    shutil.copytree(tiny_flow(KLEIN.name), tmp_path / "klein-base")
    index = tmp_path / "klein-base" / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "is_distilled": True}))
    assert KLEIN.caution(str(tmp_path / "klein-base"), EvaluationConfig()), "whatever it is called"
    settings = {key: value for key, (value, _) in KLEIN.drawing_settings(str(tmp_path / "klein-base")).items()}
    assert settings == {"evaluation.num_inference_steps": 4, "evaluation.guidance_scale": 1.0}


def test_dev_needs_no_torchvision_for_its_processor_of_pictures(
    tiny_flow: Callable[[str], Path], tmp_path: Path
) -> None:
    """Its published folder names a class that cannot be made without it."""
    shutil.copytree(tiny_flow(DEV.name), tmp_path / "model")
    index = tmp_path / "model" / "model_index.json"
    published = {**json.loads(index.read_text()), "tokenizer": ["transformers", "PixtralProcessor"]}
    index.write_text(json.dumps(published))
    model, own = (loaded(ModelConfig(path=str(path))) for path in (tmp_path / "model", tiny_flow(DEV.name)))
    with torch.no_grad():
        ours, theirs = (each.encode_captions(["a red dress"])["hidden_states"] for each in (model, own))
    assert torch.equal(ours, theirs)


def test_dev_is_told_how_much_guidance_it_draws_with(tiny_flow: Callable[[str], Path]) -> None:
    model = loaded(ModelConfig(path=str(tiny_flow(DEV.name))))
    given = list[float]()

    def record(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        given.extend(cast("torch.Tensor", kwargs["guidance"]).tolist())

    model.denoiser.register_forward_pre_hook(record, with_kwargs=True)
    with torch.no_grad():
        model.predict(noise(), torch.ones(1), model.encode_captions(["a red dress"]))
        model.pipeline(
            **model.prompt_arguments(["a red dress"]),
            **DEV.guidance_arguments(4.0),
            num_inference_steps=1,
            height=HEIGHT,
            width=WIDTH,
        )
    assert given == [1.0, 4.0]
