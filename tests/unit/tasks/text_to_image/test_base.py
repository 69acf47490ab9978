"""Loading a base model: the wrong ones are refused in words."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from shared.config.schema import ModelConfig
from shared.errors import ModelError
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.model import Model
from tests.conftest import paper_model


def test_a_folder_without_weights_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot load") as caught:
        loading.load_model(ModelConfig(path=str(paper_model(tmp_path / "model"))), "fp32")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x80\x04 a pickle in disguise")
    with pytest.raises(ModelError, match=r"is not a whole \.safetensors file"):
        loading.load_model(ModelConfig(path=str(path)), "fp32")


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_a_single_file_loads_as_its_folder_does(tiny_models: Path, tiny_single_files: Path, family: str) -> None:
    folder = str(tiny_models / family)
    single = ModelConfig(path=str(tiny_single_files / f"{family}.safetensors"), single_file_config=folder)
    expected, found = loading.load_model(ModelConfig(path=folder), "fp32"), loading.load_model(single, "fp32")
    assert found.family is expected.family
    assert (found.family.name, found.objective.schedule) == (family, expected.objective.schedule)
    for name, part in {**expected.parts, "vae": expected.pipeline.vae}.items():
        theirs = getattr(found.pipeline, name).state_dict()
        assert theirs.keys() == part.state_dict().keys()
        assert all(torch.equal(theirs[key], value) for key, value in part.state_dict().items())
    assert found.pipeline.vae.config.force_upcast == expected.pipeline.vae.config.force_upcast
    assert torch.allclose(draw(found), draw(expected), atol=1e-5)


def draw(model: Model) -> torch.Tensor:
    arguments = model.prompt_arguments(["a red dress"])
    generator = torch.Generator().manual_seed(0)
    return model.pipeline(
        **arguments, num_inference_steps=2, height=32, width=32, generator=generator, output_type="pt"
    ).images


def test_a_single_file_whose_parts_nobody_describes_is_refused_with_the_setting_that_helps(
    tiny_single_files: Path,
) -> None:
    with pytest.raises(ModelError, match="cannot load") as refused:
        loading.load_model(ModelConfig(path=str(tiny_single_files / "sd1.safetensors")), "fp32")
    assert "model.single_file_config" in refused.value.hint


def test_the_predicted_quantity_can_be_set(tiny_models: Path) -> None:
    model = loading.load_model(ModelConfig(path=str(tiny_models / "sd1"), prediction_type="v_prediction"), "fp32")
    assert model.objective.schedule.prediction_type == "v_prediction"
    assert model.objective.scheduler.config["prediction_type"] == "v_prediction"


def test_a_hub_out_of_reach_is_not_told_as_a_missing_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_candidates", Mock(side_effect=OSError("a/b lacks a file")))
    with pytest.raises(ModelError, match="not in the cache, and it could not be downloaded") as refused:
        loading.load_model(ModelConfig(path="a/b"), "fp32")
    assert "hf download a/b" in refused.value.hint
