"""A loaded model's noise schedule: one answer for who trains, who draws and who writes the header."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, EDMEulerScheduler
from safetensors.torch import save_file

from shared.config.schema import ModelConfig
from shared.errors import ModelError
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.families.stable_diffusion import SD2_BIAS
from tasks.text_to_image.families.unet import FIRST_CONVOLUTION
from tasks.text_to_image.models.noise_schedule import NoiseSchedule
from tests import single_file

V_TO_THE_END = NoiseSchedule("v_prediction", zero_terminal_snr=True)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_single_file_marked_v_is_trained_and_drawn_as_v_to_pure_noise(
    tmp_path: Path, tiny_models: Path, tiny_single_files: Path, family: str
) -> None:
    path = single_file.mark(tiny_single_files / f"{family}.safetensors", tmp_path / "v.safetensors", "v_pred", "ztsnr")
    model = loading.load_model(described(path, tiny_models / family), "fp32")
    assert model.objective.schedule == V_TO_THE_END
    assert not model.notices
    training = model.objective.scheduler
    assert training.config["prediction_type"] == "v_prediction"
    assert training.alphas_cumprod[-1] == 0
    model.sample_with("DPMSolverMultistepScheduler")
    sampler = model.pipeline.scheduler
    sampler.set_timesteps(4)
    assert int(sampler.timesteps[0]) == 999
    assert sampler.config.prediction_type == "v_prediction"
    assert sampler.config.timestep_spacing == "trailing"


def test_a_setting_that_contradicts_the_file_wins_and_what_the_file_says_wrongly_is_told(
    tmp_path: Path, tiny_models: Path, tiny_single_files: Path
) -> None:
    said = {"predict_key": "v", "architecture": "flux-1-dev"}
    path = single_file.mark(tiny_single_files / "sd1.safetensors", tmp_path / "v.safetensors", **said)
    settings = described(path, tiny_models / "sd1", prediction_type="epsilon")
    model = loading.load_model(settings, "fp32")
    assert model.objective.schedule == NoiseSchedule("epsilon")
    architecture, told = model.notices
    assert "says 'flux-1-dev', but its tensors are of SD 1.x" in architecture
    assert "model.prediction_type is epsilon, but the model's own files say v_prediction" in told


def test_a_folder_with_zero_terminal_snr_of_its_own_is_drawn_as_it_is_trained(
    tmp_path: Path, tiny_models: Path
) -> None:
    folder = rescheduled(tmp_path, tiny_models / "sd2", rescale_betas_zero_snr=True)
    model = loading.load_model(ModelConfig(path=str(folder)), "fp32")
    assert model.objective.schedule == V_TO_THE_END
    assert model.objective.scheduler.alphas_cumprod[-1] == 0
    model.sample_with("DPMSolverMultistepScheduler")
    model.pipeline.scheduler.set_timesteps(4)
    assert model.pipeline.scheduler.timesteps.tolist() == [999, 749, 499, 249]


def test_zero_terminal_snr_of_a_model_that_predicts_noise_is_not_applied_and_told(
    tmp_path: Path, tiny_models: Path
) -> None:
    folder = rescheduled(tmp_path, tiny_models / "sd1", rescale_betas_zero_snr=True)
    model = loading.load_model(ModelConfig(path=str(folder)), "fp32")
    assert model.objective.schedule == NoiseSchedule("epsilon")
    assert "works only for a model that predicts v" in model.notices[0]
    assert model.objective.scheduler.alphas_cumprod[-1] > 1e-3
    model.sample_with("DPMSolverMultistepScheduler")
    assert model.pipeline.scheduler.alphas_cumprod[-1] > 1e-3


def test_training_rescales_betas_and_leaves_the_first_timestep(tiny_models: Path) -> None:
    settings = ModelConfig(path=str(tiny_models / "sd2"))
    own = loading.load_model(settings, "fp32").objective.scheduler
    rescaled = loading.load_model(settings, "fp32", zero_terminal_snr=True).objective.scheduler
    assert own.alphas_cumprod[-1] > 0.004
    assert rescaled.alphas_cumprod[-1] == 0
    assert rescaled.alphas_cumprod[0].item() == pytest.approx(own.alphas_cumprod[0].item(), rel=1e-5)
    latents, noise, last = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2), torch.tensor([999])
    assert torch.allclose(rescaled.add_noise(latents, noise, last), noise)  # pyright: ignore
    assert torch.allclose(rescaled.get_velocity(latents, noise, last), -latents)  # pyright: ignore


@pytest.mark.parametrize(("spread", "predicted"), [(0.05, "epsilon"), (0.2, "v_prediction")])
def test_an_unmarked_sd2_file_is_told_by_the_bias_that_tells_512_base_from_768_v(
    tmp_path: Path, spread: float, predicted: str
) -> None:
    path = biased(tmp_path, spread, "cond_stage_model.model.ln_final.bias")
    assert predicts("sd2", path, taken_for="v_prediction") == predicted
    assert predicts("sd2", path, taken_for="v_prediction", single_file_config="a/b") == "v_prediction"


def test_the_same_bias_says_nothing_of_another_family(tmp_path: Path) -> None:
    path = biased(tmp_path, 0.2, "cond_stage_model.transformer.text_model.final_layer_norm.bias")
    assert predicts("sd1", path, taken_for="epsilon") == "epsilon"


def predicts(family: str, file: Path, taken_for: str, **settings: str) -> str:
    """taken_for: what the scheduler says that diffusers gives such a file."""
    pipeline = SimpleNamespace(scheduler=DDIMScheduler(prediction_type=taken_for))
    described = ModelConfig.model_validate({"path": str(file), **settings})
    return FAMILIES[family].objective(pipeline, file, described, zero_terminal_snr=False)[0].prediction_type


def test_an_edm_scheduler_is_refused_after_loading_too(tmp_path: Path, tiny_models: Path) -> None:
    """A hub id is looked at by loading alone."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_models / "sd1", folder)
    EDMEulerScheduler().save_pretrained(folder / "scheduler")
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "EDMEulerScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="has the noise schedule of EDMEulerScheduler"):
        loading.load_model(ModelConfig(path=str(folder)), "fp32")


def test_an_sdxl_vae_with_mean_and_deviation_is_scaled_as_its_pipeline_unscales(
    tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = changed(tmp_path, tiny_models / "sdxl", "vae/config.json", latents_mean=[1, 2, 3, 4], latents_std=[2] * 4)
    model = loading.load_model(ModelConfig(path=str(folder)), "fp32")
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    decoded: list[torch.Tensor] = []
    monkeypatch.setattr(
        model.pipeline.vae, "decode", lambda given, **_: decoded.append(given) or (torch.zeros(1, 3, 32, 32),)
    )
    monkeypatch.setattr(model.pipeline.scheduler, "step", lambda *_, **__: (model.scale_latents(latents),))
    model.pipeline(**model.prompt_arguments(["a red dress"]), num_inference_steps=1, height=32, width=32)
    torch.testing.assert_close(decoded[0], latents)


def described(path: Path, folder: Path, **settings: Any) -> ModelConfig:
    return ModelConfig(path=str(path), single_file_config=str(folder), **settings)


def rescheduled(tmp_path: Path, source: Path, **settings: Any) -> Path:
    """A copy of a model whose scheduler says this, too."""
    return changed(tmp_path, source, "scheduler/scheduler_config.json", **settings)


def changed(tmp_path: Path, source: Path, file: str, **settings: Any) -> Path:
    """A copy of a model with other settings in one of its configuration files."""
    folder = tmp_path / "model"
    shutil.copytree(source, folder)
    config = folder / file
    config.write_text(json.dumps(json.loads(config.read_text()) | settings))
    return folder


def biased(tmp_path: Path, spread: float, text_encoder_key: str) -> Path:
    path = tmp_path / "model.safetensors"
    bias = torch.tensor([-spread, spread], dtype=torch.bfloat16)
    save_file({SD2_BIAS: bias, FIRST_CONVOLUTION: torch.zeros(1, 4, 3, 3), text_encoder_key: bias.clone()}, path)
    return path
