"""What a model's own files say of its noise schedule, and which kinds are refused before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from shared.errors import ModelError
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.families.unet import FIRST_CONVOLUTION
from tasks.text_to_image.models import base_model
from tasks.text_to_image.models.noise_schedule import NoiseSchedule, of_file, of_scheduler
from tests.conftest import paper_model

V, V_TO_THE_END = NoiseSchedule("v_prediction"), NoiseSchedule("v_prediction", zero_terminal_snr=True)
EPSILON = NoiseSchedule("epsilon")


@pytest.mark.parametrize(
    ("markers", "metadata", "said"),
    [
        ([], {}, None),
        (["v_pred"], {}, V),
        (["v_pred", "ztsnr"], {}, V_TO_THE_END),
        (["ztsnr"], {}, None),
        ([], {"modelspec.prediction_type": "v"}, V),
        ([], {"modelspec.predict_key": "v"}, V),
        (["ztsnr"], {"modelspec.predict_key": "v"}, V_TO_THE_END),
        ([], {"modelspec.prediction_type": "epsilon"}, EPSILON),
        ([], {"modelspec.prediction_type": "V-Prediction"}, V),
        ([], {"modelspec.prediction_type": ""}, None),
        (["ztsnr"], {"modelspec.prediction_type": "epsilon"}, EPSILON),
        (["v_pred"], {"modelspec.prediction_type": "epsilon"}, V),
        ([], {"modelspec.architecture": "stable-diffusion-v2-768-v"}, V),
        ([], {"modelspec.architecture": "stable-diffusion-v2-512"}, EPSILON),
        ([], {"modelspec.architecture": "stable-diffusion-xl-v1-base"}, None),
    ],
)
def test_a_single_file_says_what_it_predicts_by_tensors_then_by_its_header(
    tmp_path: Path, markers: list[str], metadata: dict[str, str], said: NoiseSchedule | None
) -> None:
    assert base_model.stated(str(single_file(tmp_path, *markers, **metadata))) == (str(said) if said else None)


@pytest.mark.parametrize("marker", ["edm_mean", "edm_vpred.sigma_max"])
def test_an_edm_file_is_refused_by_name(tmp_path: Path, marker: str) -> None:
    path = str(single_file(tmp_path, marker))
    for ask in (base_model.identify, base_model.family, base_model.stated):
        with pytest.raises(ModelError, match=rf"is an EDM model \(it holds {marker}\)") as refused:
            ask(path)
    assert "predicts noise or v" in refused.value.hint


@pytest.mark.parametrize("key", ["modelspec.prediction_type", "modelspec.predict_key"])
@pytest.mark.parametrize("word", ["flow", "edm_vpred", "sample"])
def test_a_file_that_says_it_predicts_something_else_is_refused_by_name(tmp_path: Path, key: str, word: str) -> None:
    path = str(single_file(tmp_path, "v_pred", **{key: word}))
    for ask in (base_model.identify, base_model.family, base_model.stated):
        with pytest.raises(ModelError, match=rf"predicts '{word}' \({key} of its header\)") as refused:
            ask(path)
    assert "predicts noise or v" in refused.value.hint


@pytest.mark.parametrize(
    ("markers", "metadata", "told"),
    [
        (["v_pred"], {"modelspec.prediction_type": "epsilon"}, ["v_prediction by its tensor v_pred, epsilon by"]),
        (
            [],
            {"modelspec.prediction_type": "epsilon", "modelspec.predict_key": "v"},
            ["v_prediction by modelspec.pred"],
        ),
        ([], {"modelspec.architecture": "flux-1-dev"}, ["says 'flux-1-dev', but its tensors are of SDXL"]),
        ([], {"modelspec.architecture": "stable-diffusion-v1"}, ["but its tensors are of SDXL"]),
        (
            [],
            {"modelspec.architecture": "stable-diffusion-v2-768-v", "modelspec.predict_key": "eps"},
            ["epsilon by modelspec.predict_key, v_prediction by modelspec.architecture", "are of SDXL"],
        ),
        (["v_pred"], {"modelspec.predict_key": "v", "modelspec.architecture": "stable-diffusion-xl-v1-base"}, []),
        ([], {"modelspec.architecture": "sdxl"}, []),
    ],
)
def test_a_file_that_contradicts_itself_is_told(
    tmp_path: Path, markers: list[str], metadata: dict[str, str], told: list[str]
) -> None:
    file = single_file(tmp_path, *markers, **metadata)
    notices = (*of_file(file).notices, *base_model.misnamed(file, FAMILIES["sdxl"]))
    assert len(notices) == len(told)
    assert all(part in notice for part, notice in zip(told, notices, strict=True))


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("PNDMScheduler", {}, EPSILON),
        ("EulerDiscreteScheduler", {"prediction_type": "v_prediction"}, V),
        ("DDIMScheduler", {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}, V_TO_THE_END),
        ("DDIMScheduler", {"rescale_betas_zero_snr": True}, EPSILON),
    ],
)
def test_a_folder_says_it_in_its_scheduler(
    tmp_path: Path, name: str, config: dict[str, Any], said: NoiseSchedule
) -> None:
    assert base_model.stated(str(folder_with(tmp_path, name, config))) == (str(said) if said else None)


@pytest.mark.parametrize(
    ("name", "config", "problem"),
    [
        ("EDMDPMSolverMultistepScheduler", {}, "the noise schedule of EDMDPMSolverMultistepScheduler"),
        ("EDMEulerScheduler", {"prediction_type": "v_prediction"}, "the noise schedule of EDMEulerScheduler"),
        ("FlowMatchEulerDiscreteScheduler", {}, "the noise schedule of FlowMatchEulerDiscreteScheduler"),
        ("DPMSolverMultistepScheduler", {"use_flow_sigmas": True}, "with use_flow_sigmas"),
        ("EulerDiscreteScheduler", {"timestep_type": "continuous"}, "with continuous timesteps"),
        ("DDPMScheduler", {"prediction_type": "sample"}, "predicts 'sample'"),
        ("UniPCMultistepScheduler", {"prediction_type": "flow_prediction"}, "predicts 'flow_prediction'"),
        ("DDIMScheduler", {"beta_schedule": "exp"}, "with beta_schedule 'exp'"),
        ("SomebodysScheduler", {}, "the noise schedule of SomebodysScheduler"),
    ],
)
def test_another_kind_of_schedule_is_refused_by_name_before_a_run_is_made(
    tmp_path: Path, name: str, config: dict[str, Any], problem: str
) -> None:
    path = str(folder_with(tmp_path, name, config))
    for ask in (base_model.identify, base_model.family, base_model.stated):
        with pytest.raises(ModelError, match=problem) as refused:
            ask(path)
    assert "predicts noise or v" in refused.value.hint


def test_the_class_the_pipeline_names_counts(tmp_path: Path) -> None:
    """diffusers loads that one, whatever the scheduler's own file says."""
    folder = folder_with(tmp_path, "EulerDiscreteScheduler", {})
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "EDMEulerScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="EDMEulerScheduler"):
        base_model.identify(str(folder))


def test_betas_given_one_by_one_need_no_known_schedule() -> None:
    config = {"_class_name": "DDPMScheduler", "trained_betas": [0.1], "beta_schedule": "mine"}
    assert of_scheduler(config, "a model").prediction_type == "epsilon"


def test_it_is_said_in_words() -> None:
    assert [str(schedule) for schedule in (EPSILON, V, V_TO_THE_END)] == [
        "predicts noise",
        "predicts v",
        "predicts v, zero terminal SNR",
    ]


def test_pure_noise_is_refused_where_noise_is_predicted() -> None:
    assert V.ending_in_pure_noise() == V_TO_THE_END
    with pytest.raises(ModelError, match=r"zero_terminal_snr is set, but the model predicts 'epsilon'") as refused:
        EPSILON.ending_in_pure_noise()
    assert "train.zero_terminal_snr = false" in refused.value.hint


def folder_with(tmp_path: Path, name: str, config: dict[str, Any]) -> Path:
    folder = paper_model(tmp_path / "model")
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": name, **config}))
    return folder


def single_file(tmp_path: Path, *markers: str, **metadata: str) -> Path:
    path = tmp_path / "model.safetensors"
    tensors = {
        FIRST_CONVOLUTION: np.zeros((1, 4, 3, 3), np.float16),
        "conditioner.embedders.1.model.ln_final.bias": np.zeros(1, np.float16),
        **{marker: np.zeros(0, np.float32) for marker in markers},
    }
    save_file(tensors, path, metadata)
    return path
