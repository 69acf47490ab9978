"""Pictures drawn with another base model than the one that learns: what fits, what is recorded, what is found again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from shared.config.schema import Config
from shared.errors import DataError, ModelError
from shared.files.publication import sha256
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.evaluation import loading
from tasks.text_to_image.models import drawing_model
from tasks.text_to_image.places import changed_content, missing_paths, moved_settings, require_present
from tests.conftest import create_run, tiny_config

COMMIT = "4" * 40


@pytest.fixture(scope="module")
def distilled(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with other weights of its UNet."""
    folder = tmp_path_factory.mktemp("distilled") / "model"
    shutil.copytree(tiny_model, folder)
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = {key: value + 0.01 for key, value in load_file(file).items()}
    file.unlink()
    save_file(weights, file)
    return folder


def config_of(folder: Path, model: Path, pictures: Path, named: str | Path, **evaluation: object) -> Config:
    return tiny_config(folder, "run", model, pictures, {"evaluation": {"model": str(named), **evaluation}})


@pytest.fixture
def run(tmp_path: Path, tiny_model: Path, distilled: Path, pictures: Path) -> RunDir:
    """A run whose base of drawing is a copy, which may be moved."""
    shutil.copytree(distilled, tmp_path / "distilled")
    return create_run(config_of(tmp_path / "runs", tiny_model, pictures, tmp_path / "distilled", visual="gradients"))


def test_the_evaluator_draws_with_it_and_the_trainer_learns_on_the_other(run: RunDir, distilled: Path) -> None:
    config = run.read_config()
    evaluation = loading.build(run, config, torch.device("cpu"))
    held = evaluation.image_generator.model.denoiser.state_dict()
    expected = load_file(distilled / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(held[key], value) for key, value in expected.items())
    assert evaluation.describe()["base_model"] == config.evaluation.model
    assert config.model.path != config.evaluation.model
    (said,) = drawing_model.sentences(config)
    assert said.startswith(f"pictures are drawn with {config.evaluation.model} (evaluation.model)")
    assert drawing_model.settings(config.model_copy(update={"evaluation": config.evaluation.model_copy(
        update={"model": None}
    )})) == config.model  # fmt: skip


def test_its_fingerprint_is_recorded_and_a_moved_one_is_known_again(run: RunDir, tmp_path: Path) -> None:
    assert "evaluation.model" in run.read_record().folders
    config, elsewhere = run.read_config(), tmp_path / "elsewhere"
    assert list(changed_content(run, config, sha256)) == []
    (tmp_path / "distilled").rename(elsewhere)
    assert "evaluation.model" in missing_paths(run, config)
    with pytest.raises(ModelError, match=r"the base model of evaluation\.model of .* is not at") as error:
        require_present(run, config, to_train=False)
    assert "evaluation.model=PLACE" in error.value.hint
    require_present(run, config, to_train=True)
    moved = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"model": str(elsewhere)})})
    assert moved_settings(run, moved, {"evaluation.model"}) == {"evaluation.model"}


def test_another_model_at_its_place_is_found_out(run: RunDir, tmp_path: Path) -> None:
    index = tmp_path / "distilled" / "unet" / "config.json"
    index.write_text(index.read_text() + " ")
    (found,) = changed_content(run, run.read_config(), sha256)
    assert found.startswith("the base model of evaluation.model at ")
    assert "is not the one that" in found


def test_a_single_file_is_recorded_by_its_digest(
    tmp_path: Path, tiny_model: Path, tiny_single_files: Path, pictures: Path
) -> None:
    file = shutil.copy(tiny_single_files / "sd1.safetensors", tmp_path)
    run = create_run(config_of(tmp_path / "runs", tiny_model, pictures, file))
    assert run.read_record().folders["evaluation.model"] == sha256(Path(file))
    assert list(changed_content(run, run.read_config(), sha256)) == []
    Path(file).write_bytes(Path(file).read_bytes() + b" ")
    assert len(list(changed_content(run, run.read_config(), sha256))) == 1


def test_the_commit_of_a_hub_id_is_recorded_and_loaded(
    tmp_path: Path, tiny_model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--somebody--fast"
    shutil.copytree(tiny_model, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    config = config_of(tmp_path / "runs", tiny_model, pictures, "somebody/fast@main")
    identity = drawing_model.identify(config)
    assert identity == {"evaluation_commit": COMMIT}
    assert (drawing_model.settings(config).path, drawing_model.settings(config).revision) == ("somebody/fast", "main")
    assert drawing_model.pinned(config, identity).revision == COMMIT


def test_a_model_of_another_family_or_shape_is_refused_before_anything_is_written(
    tmp_path: Path, tiny_models: Path, pictures: Path
) -> None:
    config = config_of(tmp_path / "runs", tiny_models / "sd1", pictures, tiny_models / "sd2")
    with pytest.raises(ModelError, match=r"is of the family sd2, and .*, which learns, of sd1") as error:
        create_run(config)
    assert error.value.hint.startswith("choose a model of the family sd1")
    assert not (tmp_path / "runs" / "run").exists()
    wider = shutil.copytree(tiny_models / "sd1", tmp_path / "wider")
    described: Any = UNet2DConditionModel.load_config(wider / "unet")
    network: Any = UNet2DConditionModel.from_config({**described, "block_out_channels": (32, 96)})
    shutil.rmtree(wider / "unet")
    network.save_pretrained(wider / "unet")
    with pytest.raises(ModelError, match="has modules of other shapes than"):
        drawing_model.identify(config_of(tmp_path / "runs", tiny_models / "sd1", pictures, wider))


def test_a_place_without_a_model_is_refused_with_the_setting_s_name(
    tmp_path: Path, tiny_model: Path, pictures: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"^evaluation\.model is .*empty"):
        drawing_model.identify(config_of(tmp_path / "runs", tiny_model, pictures, tmp_path / "empty"))


def test_without_it_nothing_is_recorded(tmp_path: Path, tiny_model: Path, pictures: Path) -> None:
    config = tiny_config(tmp_path / "runs", "run", tiny_model, pictures, {})
    assert drawing_model.identify(config) == {}


def test_a_model_that_edits_nothing_cannot_draw_where_pairs_are_learnt(
    tiny_flow: Callable[[str], Path], pairs: Callable[[int], Path], tmp_path: Path
) -> None:
    """It would take the LoRA: its modules are the same."""
    sections: dict[str, dict[str, object]] = {
        "data": {"sources": "files"},
        "evaluation": {"scheduler": "own", "model": str(tiny_flow("flux1-dev"))},
    }
    with pytest.raises(ModelError, match=r"draws from a text alone, and data\.sources is files"):
        create_run(tiny_config(tmp_path / "runs", "run", tiny_flow("flux1-kontext"), pairs(1), sections))
    assert not (tmp_path / "runs").exists()


def test_more_sources_than_the_model_takes_are_one_error_that_names_each(
    tiny_flow: Callable[[str], Path], pairs: Callable[[int], Path], tmp_path: Path
) -> None:
    sections: dict[str, dict[str, object]] = {"data": {"sources": "files"}, "evaluation": {"scheduler": "own"}}
    config = tiny_config(tmp_path / "runs", "run", tiny_flow("flux1-kontext"), pairs(2), sections)
    with pytest.raises(DataError, match=r"FLUX\.1 Kontext takes 1 source\(s\) of a picture") as refused:
        create_run(config)
    assert str(refused.value).count("has 2 sources") == 12
    assert not (tmp_path / "runs").exists()
