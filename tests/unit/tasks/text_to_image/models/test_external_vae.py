"""A VAE from elsewhere: what encodes, what decodes, whose units count, and which are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import diffusers
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from huggingface_hub import constants
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from shared.config.schema import ModelConfig
from shared.errors import ModelError
from shared.launch.resume import Resume
from tasks.text_to_image.families import loading
from tasks.text_to_image.models import external_vae
from tests.conftest import open_or_create, tiny_config

COMMIT = "3" * 40


@pytest.fixture(scope="module")
def other(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another VAE of the same shape, in units of its own."""
    folder = tmp_path_factory.mktemp("vae") / "other"
    torch.manual_seed(7)
    config = dict(AutoencoderKL.load_config(tiny_model, subfolder="vae")) | {"scaling_factor": 0.5}
    AutoencoderKL.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(params=["folder", "pipeline", "file in diffusers' layout", "file in the authors' layout", "hub"])
def place(
    request: pytest.FixtureRequest,
    other: Path,
    tiny_models: Path,
    tiny_single_files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[str, Path]:
    """`model.vae` in each of its forms, and a folder of the VAE that it means."""
    if request.param == "folder":
        return str(other), other
    if request.param == "file in diffusers' layout":
        return str(other / "diffusion_pytorch_model.safetensors"), other
    if request.param == "hub":
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        repository = tmp_path / "hub" / "models--somebody--vae"
        shutil.copytree(other, repository / "snapshots" / COMMIT)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(COMMIT)
        return "somebody/vae", other
    sdxl = tiny_models / "sdxl" / "vae"  # of the same shape
    if request.param == "pipeline":
        return str(tiny_models / "sdxl"), sdxl
    tensors = load_file(tiny_single_files / "sdxl.safetensors")
    inside = {key.removeprefix("first_stage_model."): value for key, value in tensors.items() if "first_stage" in key}
    save_file(inside, tmp_path / "vae.safetensors")
    return str(tmp_path / "vae.safetensors"), sdxl


def test_it_encodes_and_decodes_in_place_of_the_models_own(place: tuple[str, Path], tiny_model: Path) -> None:
    vae, folder = place
    model = loading.load_model(ModelConfig(path=str(tiny_model), vae=vae), "fp16", for_training=True)
    expected = AutoencoderKL.from_pretrained(folder)
    held = model.pipeline.vae.state_dict()
    assert held.keys() == expected.state_dict().keys()
    assert all(torch.equal(value, held[key]) for key, value in expected.state_dict().items())
    assert model.pipeline.vae.dtype == torch.float32
    assert not any(parameter.requires_grad for parameter in model.pipeline.vae.parameters())
    own = loading.load_model(ModelConfig(path=str(tiny_model)), "fp32")
    assert model.vae_digest() != own.vae_digest(), "what was encoded by another VAE is not read from the cache"


def test_a_folders_units_are_its_own_and_a_files_those_of_the_base_model(other: Path, tiny_model: Path) -> None:
    latents = torch.ones(1, 4, 2, 2)
    for vae, factor in ((other, 0.5), (other / "diffusion_pytorch_model.safetensors", 0.18215)):
        model = loading.load_model(ModelConfig(path=str(tiny_model), vae=str(vae)), "fp32")
        assert float(model.scale_latents(latents).mean()) == pytest.approx(factor)


def test_run_json_tells_which_it_was_and_a_run_goes_on_with_that_one(
    place: tuple[str, Path], tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    vae, _ = place
    config = tiny_config(tmp_path / "runs", "run", tiny_model, pictures, {"model": {"vae": vae}})
    run = open_or_create(config, Resume(), Mock(), lambda: None)
    record = run.read_record().base_model
    settings = external_vae.pinned(run.read_config().model, record)
    if vae == "somebody/vae":
        assert record["vae_commit"] == COMMIT
        assert settings.vae == f"somebody/vae@{COMMIT}"
        assert external_vae.source(settings.vae).revision == COMMIT
    else:
        assert len(record["vae_fingerprint"]) == 64
        assert settings.vae == vae


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"latent_channels": 16}, "latents of 16 channels at 1/4 .*, the base model reads 4 at 1/4"),
        ({"block_out_channels": [16, 16, 32, 32]}, "latents of 4 channels at 1/8"),
        ({"_class_name": "AutoencoderTiny"}, "is an AutoencoderTiny"),
        ({"shift_factor": 0.1}, "sets shift_factor"),
        ({"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}, "sets latents_mean and latents_std"),
    ],
)
def test_one_for_another_family_is_refused_before_a_run_is_made(
    other: Path, tiny_model: Path, tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    folder = tmp_path / "vae"
    shutil.copytree(other, folder)
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=problem) as refused:
        external_vae.identify(ModelConfig(path=str(tiny_model), vae=str(folder)))
    assert "family" in refused.value.hint


def test_a_file_of_other_latents_and_what_is_no_vae_are_refused(
    tiny_model: Path, tiny_single_files: Path, tmp_path: Path
) -> None:
    save_arrays({"decoder.conv_in.weight": np.zeros((8, 16, 3, 3), np.float16)}, tmp_path / "flux.safetensors")
    save_arrays({"lora_A": np.zeros(3, np.float16)}, tmp_path / "lora.safetensors")
    (tmp_path / "vae.pt").write_bytes(b"1")
    (tmp_path / "empty").mkdir()
    for name, problem in (
        ("flux.safetensors", "latents of 16 channels at 1/1"),
        ("lora.safetensors", "holds no VAE"),
        ("vae.pt", "is not a .safetensors file"),
        ("empty", "is not a diffusers VAE folder"),
        ("nowhere/at/all", "does not exist"),
    ):
        for path in (tiny_model, tiny_single_files / "sd1.safetensors"):
            with pytest.raises(ModelError, match=problem):
                external_vae.identify(ModelConfig(path=str(path), vae=str(tmp_path / name)))


def test_a_whole_checkpoint_may_lend_its_vae(tiny_model: Path, tiny_single_files: Path) -> None:
    settings = ModelConfig(path=str(tiny_model), vae=str(tiny_single_files / "sdxl.safetensors"))
    assert external_vae.identify(settings)["vae_fingerprint"]


def test_without_one_nothing_is_said(tiny_model: Path) -> None:
    assert external_vae.identify(ModelConfig(path=str(tiny_model))) == {}


@pytest.mark.parametrize("family", ["flux1-dev", "flux2-klein-4b", "krea2"])
def test_a_flow_family_takes_one_of_its_own_class(
    tiny_flow: Callable[[str], Path], tiny_model: Path, tmp_path: Path, family: str
) -> None:
    base = tiny_flow(family)
    kind: Any = getattr(diffusers, json.loads((base / "vae" / "config.json").read_text())["_class_name"])
    torch.manual_seed(7)
    expected = kind.from_config(kind.load_config(base, subfolder="vae"))
    expected.save_pretrained(tmp_path / "vae")
    for place in (tmp_path / "vae", tmp_path / "vae" / "diffusion_pytorch_model.safetensors"):
        settings = ModelConfig(path=str(base), vae=str(place))
        assert external_vae.identify(settings)["vae_fingerprint"]
        held = loading.load_model(settings, "fp32", for_training=True).pipeline.vae.state_dict()
        assert all(torch.equal(value, held[key]) for key, value in expected.state_dict().items())
    save_arrays({"decoder.conv_in.weight": np.zeros((8, 9, 3, 3), np.float16)}, tmp_path / "other.safetensors")
    refused = {tmp_path / "other.safetensors": "latents of 9 channels"}
    if kind is not AutoencoderKL:
        name = kind.__name__
        refused = {
            tmp_path / "other.safetensors": f"is no {name} in diffusers' layout",
            tiny_model: f"is an AutoencoderKL, the base model's own is an {name}",
        }
    for place, problem in refused.items():
        with pytest.raises(ModelError, match=problem):
            external_vae.identify(ModelConfig(path=str(base), vae=str(place)))
