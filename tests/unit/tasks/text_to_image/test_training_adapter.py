"""`model.training_adapter`: added to the weights that learn, absent from what ships and from what draws."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

import tasks
from shared.config.loading import parse_config
from shared.config.schema import Config, LoraConfig, ModelConfig
from shared.errors import ConfigError, RunFolderError
from shared.launch import resume
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.families import loading
from tasks.text_to_image.families.known import FAMILIES
from tasks.text_to_image.lora import lora
from tasks.text_to_image.models import drawing_model
from tasks.text_to_image.training.preparation import prepare
from tests.conftest import RunMaker, create_run, tiny_config

SCALE = 1.5


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a LoRA of rank 2 with an update in every module of the largest preset, convolutions among them."""
    settings = LoraConfig.model_validate({"rank": 2, "lora_alpha": 2 * SCALE, "target_modules": "all"})
    model = loading.load_model(ModelConfig(path=str(tiny_model)), "fp32")
    parts = lora.adapted(model, settings)
    lora.attach(parts, settings, model.family)
    torch.manual_seed(1)
    weights = {key: torch.randn(value.shape) * 0.1 for key, value in lora.state(parts).items()}
    folder = tmp_path_factory.mktemp("adapter")
    lora.write(folder, weights, lora.metadata(parts))
    return folder / lora.LORA_FILE


def prepared(run: RunDir) -> Any:
    """What the trainer trains, with its adapter attached."""
    return prepare(run, run.read_config(), Accelerator(cpu=True), lambda done, total: None, begins=True)


def test_the_weights_that_learn_are_the_bases_plus_scale_b_a(make_run: RunMaker, adapter: Path) -> None:
    run = make_run(model={"training_adapter": str(adapter)}, train={"validation_steps": 3})
    training, config = prepared(run), run.read_config()
    drawing = loading.load_model(drawing_model.pinned(config, run.read_record().base_model), "fp32")
    learning = {name.replace(".base_layer", ""): value for name, value in training.model.denoiser.named_parameters()}
    update, changed = load_file(adapter), 0
    for name, value in drawing.denoiser.named_parameters():
        stem = f"{drawing.family.denoiser}.{name.removesuffix('.weight')}"
        if f"{stem}.lora_A.weight" in update:
            A, B = (update[f"{stem}.lora_{half}.weight"].double() for half in "AB")
            expected = value + SCALE * torch.einsum("or,ri->oi", B.flatten(1), A.flatten(1)).reshape(value.shape)
            assert torch.allclose(learning[name].double(), expected.double(), atol=1e-5), name
            changed += 1
        else:
            assert torch.equal(learning[name], value), name
    assert changed == len(update) / 2
    assert set(training.weights()) == set(lora.expected_shapes(drawing, config.lora)), "it does not ship"
    assert not any(value.any() for key, value in training.weights().items() if ".lora_B." in key)
    without = make_run("without", train={"validation_steps": 3})
    plain = prepared(without)
    losses = [told.validate(told.module, 1, lambda done, total: None) for told in (training, plain)]
    assert losses[0] != losses[1], "the held-out loss is measured with it"


def test_its_digest_is_recorded_and_another_file_at_its_place_is_refused(make_run: RunMaker, adapter: Path) -> None:
    run = make_run(model={"training_adapter": str(adapter)})
    own = adapter.parent / "own.safetensors"
    shutil.copy(adapter, own)
    again = make_run("again", model={"training_adapter": str(own)})
    assert run.read_record().folders == again.read_record().folders
    save_file({name: value + 1 for name, value in load_file(own).items()}, own)
    with pytest.raises(ConfigError, match=r"model\.training_adapter .*own\.safetensors has changed"):
        prepared(again)
    own.unlink()


def test_a_resumed_run_may_move_it_and_not_exchange_or_remove_it(
    make_run: RunMaker, adapter: Path, tmp_path: Path
) -> None:
    run = make_run(model={"training_adapter": str(adapter)})
    run.train_csv.write_text("step\n1\n")
    moved, other = tmp_path / "moved.safetensors", tmp_path / "other.safetensors"
    shutil.copy(adapter, moved)
    save_file({name: value + 1 for name, value in load_file(adapter).items()}, other)

    def resumed(place: Path | None) -> RunDir:
        config = run.read_config()
        model = config.model.model_copy(update={"training_adapter": place and str(place)})
        changed = config.model_copy(update={"model": model})
        task = tasks.find(config.run.task)
        how = resume.Resume(allow_change=("model.training_adapter",) if place == other else ())
        return resume.open_or_create(changed, task, how, lambda text: None, lambda: None)

    assert resumed(moved).read_config().model.training_adapter == str(moved)
    for place in (other, None):
        with pytest.raises(RunFolderError, match=r"model\.training_adapter"):
            resumed(place)


def test_what_is_no_adapter_for_the_model_is_one_error_before_the_run_is_made(
    tiny_model: Path, pictures: Path, adapter: Path, tmp_path: Path
) -> None:
    def refusal(named: object, **model: object) -> ConfigError:
        sections: dict[str, dict[str, object]] = {"model": {"training_adapter": str(named), **model}}
        with pytest.raises(ConfigError) as refused:
            create_run(tiny_config(tmp_path / "runs", "run", tiny_model, pictures, sections))
        assert not (tmp_path / "runs").exists()
        return refused.value

    assert "does not exist" in str(refusal(tmp_path / "nothing.safetensors"))
    assert refusal("ostris/FLUX.1-schnell-training-adapter").hint.startswith("download it first: hf download ostris/")
    foreign = tmp_path / "foreign.safetensors"
    module = f"{FAMILIES['z-image'].denoiser}.layers.0.attention.to_q"
    save_file({f"{module}.lora_A.weight": torch.ones(1, 4), f"{module}.lora_B.weight": torch.ones(4, 1)}, foreign)
    assert "it is a LoRA for Z-Image, the base model is SD 1.x" in str(refusal(foreign))
    text = tmp_path / "text.safetensors"
    module = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
    halves = {f"{module}.lora_A.weight": torch.ones(1, 32), f"{module}.lora_B.weight": torch.ones(32, 1)}
    save_file(load_file(adapter) | halves, text)
    assert "it adapts a text encoder" in str(refusal(text))
    with pytest.raises(ConfigError, match="cannot be added to such weights"):
        parse_config({"data": {"path": "p"}, "model": {"training_adapter": "a", "quantization": "4bit"}})


def test_a_distilled_model_with_one_is_trained_without_the_warning() -> None:
    family, evaluation = FAMILIES["z-image"], Config.model_validate({"data": {"path": "p"}}).evaluation
    plain = family.caution("Tongyi-MAI/Z-Image-Turbo", evaluation)
    assert plain
    assert "model.training_adapter" in plain
    told = family.caution("Tongyi-MAI/Z-Image-Turbo", evaluation, "adapter.safetensors")
    assert told == "evaluation.guidance_scale is 7, and should be 1 for this model"
