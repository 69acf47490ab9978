"""Models as they lie in folders and in the hub's cache: variants, shards, commits."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from diffusers import StableDiffusionPipeline
from huggingface_hub import constants
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from shared.config.schema import ModelConfig
from shared.errors import ModelError
from shared.launch.resume import Resume
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.families import loading
from tasks.text_to_image.models import base_model, memory
from tasks.text_to_image.models.base_model import pinned
from tests.conftest import open_or_create, tiny_config

HUB_ID = "somebody/dresses"
FIRST, SECOND = "1" * 40, "2" * 40


@pytest.fixture(scope="module")
def half(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny SD 1.x as many repositories hold it: nothing but fp16 variants, the UNet in shards."""
    folder = tmp_path_factory.mktemp("half") / "model"
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_model, dtype=torch.float16, safety_checker=None)
    pipeline.save_pretrained(folder, variant="fp16")
    shutil.rmtree(folder / "unet")
    pipeline.unet.save_pretrained(folder / "unet", variant="fp16", max_shard_size="200KB")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_folder_of_nothing_but_half_precision_shards_loads_and_is_counted(half: Path, tiny_model: Path) -> None:
    assert not list(half.rglob("*model.safetensors"))
    assert len(list((half / "unet").glob("*.fp16-?????-of-?????.safetensors"))) > 1
    assert base_model.identify(str(half))["fingerprint"]
    loaded = loading.load_model(ModelConfig(path=str(half)), "fp32", for_training=True)
    whole = loading.load_model(ModelConfig(path=str(tiny_model)), "fp32").denoiser.state_dict()
    assert all(torch.equal(value, whole[key].half().float()) for key, value in loaded.denoiser.state_dict().items())
    counted, expected = memory.read_shapes(str(half)), memory.read_shapes(str(tiny_model))
    assert counted
    assert expected
    assert all(counted.weights(part) == expected.weights(part) for part in expected.components)


def test_a_folder_with_a_variant_of_one_part_loads(half: Path, tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(tiny_model, folder)
    shutil.rmtree(folder / "unet")
    shutil.copytree(half / "unet", folder / "unet")
    model = loading.load_model(ModelConfig(path=str(folder)), "fp32")
    encoder = loading.load_model(ModelConfig(path=str(tiny_model)), "fp32").text_encoders["text_encoder"]
    theirs = model.text_encoders["text_encoder"].state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in encoder.state_dict().items()), "the plain ones"


def test_pickled_weights_and_a_variant_that_is_not_there_are_refused_before_a_run_is_made(
    tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"model\.variant is 'fp16'"):
        base_model.identify(str(tiny_model), variant="fp16")
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_model, folder)
    (folder / "vae" / "diffusion_pytorch_model.safetensors").rename(folder / "vae" / "diffusion_pytorch_model.bin")
    for ask in (base_model.identify, memory.read_shapes):
        with pytest.raises(ModelError, match="only pickled weights in vae"):
            ask(str(folder))


def test_a_revision_is_for_hub_ids_and_a_variant_for_folders(tiny_model: Path, tiny_single_files: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.revision is 'main'"):
        base_model.identify(str(tiny_model), revision="main")
    with pytest.raises(ModelError, match=r"model\.path is a single file"):
        base_model.identify(str(tiny_single_files / "sd1.safetensors"), variant="fp16")


def test_a_run_goes_on_with_the_commit_it_was_made_with(
    cache: Path, half: Path, tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    in_cache(cache, half, FIRST)
    config = tiny_config(tmp_path / "runs", "run", Path(HUB_ID), pictures, {})
    run = open_or_create(config, Resume(), Mock(), lambda: None)
    assert run.read_record().base_model == {"path": HUB_ID, "commit": FIRST}
    in_cache(cache, tiny_model, SECOND)
    assert base_model.resolve_commit(HUB_ID) == SECOND, "the hub has gone on"
    assert base_model.resolve_commit(HUB_ID, FIRST) == FIRST
    open_or_create(config, Resume(), Mock(), lambda: None)
    settings = pinned(config.model, run.read_record().base_model)
    assert settings.revision == FIRST
    first, second = loading.load_model(settings, "fp32"), loading.load_model(config.model, "fp32")
    changed = second.denoiser.state_dict()
    assert any(not torch.equal(value, changed[key]) for key, value in first.denoiser.state_dict().items())
    assert all(torch.equal(value, changed[key].half().float()) for key, value in first.denoiser.state_dict().items())


def test_a_commit_that_was_out_of_reach_is_recorded_when_it_is_known(
    cache: Path, half: Path, pictures: Path, tmp_path: Path
) -> None:
    config = tiny_config(tmp_path / "runs", "run", Path(HUB_ID), pictures, {})
    run = open_or_create(config, Resume(), Mock(), lambda: None)
    assert run.read_record().base_model == {"path": HUB_ID}
    give_a_step(run)
    in_cache(cache, half, FIRST)
    open_or_create(config, Resume(), Mock(), lambda: None)
    assert run.read_record().base_model == {"path": HUB_ID, "commit": FIRST}
    in_cache(cache, half, SECOND)
    open_or_create(config, Resume(), Mock(), lambda: None)
    assert run.read_record().base_model == {"path": HUB_ID, "commit": FIRST}


def test_a_model_that_is_not_downloaded_takes_the_variant_the_hub_lists(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = ("unet", "vae", "text_encoder")
    listed = Mock(return_value=["model_index.json", *(f"{part}/model.fp16.safetensors" for part in parts)])
    monkeypatch.setattr(base_model, "list_repo_files", listed)
    assert base_model.hub_variant(ModelConfig(path=HUB_ID, revision="a-branch")) == "fp16"
    assert listed.call_args.kwargs == {"revision": "a-branch"}
    listed.side_effect = OSError("no network")
    assert base_model.hub_variant(ModelConfig(path=HUB_ID)) is None


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (RevisionNotFoundError, "has no revision 'old'"),
        (RepositoryNotFoundError, "the hub does not have somebody/dresses"),
    ],
)
def test_what_the_hub_does_not_have_is_refused_before_a_run_is_made(
    cache: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception], problem: str
) -> None:
    monkeypatch.setattr(base_model, "resolve_revision", Mock(side_effect=error("no", response=Mock())))
    with pytest.raises(ModelError, match=problem) as refused:
        base_model.identify(HUB_ID, revision="old")
    assert refused.value.hint


def in_cache(cache: Path, folder: Path, commit: str) -> None:
    """Lay a model into the hub's cache as `main` has it."""
    repository = cache / f"models--{HUB_ID.replace('/', '--')}"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(commit)


def give_a_step(run: RunDir) -> None:
    run.snapshot(2).mkdir()
