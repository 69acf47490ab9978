"""A run that begins from a LoRA file begins with that file's picture, whoever wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file

from shared.errors import ConfigError, ModelError
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image import export
from tasks.text_to_image.families import loading
from tasks.text_to_image.lora import lora
from tasks.text_to_image.lora.initial import Initial
from tests.conftest import RunMaker, Warm, create_run, tiny_config
from tests.unit.tasks.text_to_image.test_export import STEP, Trained, distance, draw, train

TRAINED: dict[str, tuple[str, dict[str, object]]] = {
    "sd1": ("sd1", {"target_modules": "transformer", "text_encoder": True, "rank": 2, "lora_alpha": 3}),
    "sd1 dora": ("sd1", {"target_modules": ["to_q", "conv1"], "text_encoder": True, "use_dora": True, "rank": 2}),
    "sdxl": (
        "sdxl",
        {
            "target_modules": "all",
            "text_encoder": True,
            "text_encoder_mlp": True,
            "rank": 3,
            "conv_rank": 1,
            "conv_alpha": 5,
        },
    ),
}
LARGER = {"target_modules": "all", "rank": 4, "lora_alpha": 2, "text_encoder": True}
CASES: dict[str, tuple[str, export.Format, str, dict[str, object]]] = {
    "kohya": ("sd1", "kohya", "lora.safetensors", LARGER),
    "peft": ("sd1", "peft", "lora.zip", {**LARGER, "use_rslora": True}),
    "dora": ("sd1 dora", "peft", "lora", {**TRAINED["sd1 dora"][1], "rank": 3}),
    "diffusers": ("sd1", "diffusers", "lora.safetensors", TRAINED["sd1"][1]),
    "kohya sdxl": ("sdxl", "kohya", "lora.safetensors", {**LARGER, "text_encoder_mlp": True}),
    "peft sdxl": ("sdxl", "peft", "lora", TRAINED["sdxl"][1]),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_models: Path, pictures: Path) -> dict[str, Trained]:
    return {
        name: train(tmp_path_factory.mktemp("trained"), tiny_models / family, pictures, settings)
        for name, (family, settings) in TRAINED.items()
    }


def begin(folder: Path, model_path: Path, pictures: Path, settings: dict[str, object]) -> tuple[Any, str]:
    """A run's pipeline before its first step, and what is told of it."""
    config = tiny_config(folder / "runs", "run", model_path, pictures, {"lora": settings})
    run = create_run(config)
    model = loading.load_model(config.model, "fp32")
    initial = Initial.of(run, config.lora, model)
    assert initial
    parts = lora.adapted(model, config.lora)
    lora.attach(parts, config.lora, model.family, model.clip_skip)
    return model.pipeline, initial.apply(parts)


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_continues_from_a_file_begins_with_its_picture(
    trained: dict[str, Trained], tmp_path: Path, pictures: Path, case: str
) -> None:
    source, form, name, settings = CASES[case]
    before = trained[source]
    export.export(export.read(before.run, STEP), form, "fp32", tmp_path / name)
    pipeline, told = begin(tmp_path, before.model_path, pictures, {**settings, "init_from": str(tmp_path / name)})
    assert distance(draw(pipeline), before.picture) <= 1e-5
    assert bool(told) == (source == "sd1" and settings["target_modules"] == "all")


def test_a_half_precision_file_draws_what_plain_diffusers_draws_with_it(
    trained: dict[str, Trained], tmp_path: Path, pictures: Path
) -> None:
    before, file = trained["sd1"], tmp_path / "lora.safetensors"
    export.export(export.read(before.run, STEP), "kohya", "fp16", file)
    plain: Any = DiffusionPipeline.from_pretrained(before.model_path)
    plain.load_lora_weights(file)
    pipeline, told = begin(tmp_path, before.model_path, pictures, {**LARGER, "init_from": str(file)})
    assert distance(draw(pipeline), draw(plain)) <= 1e-5
    assert told.startswith("lora.safetensors has nothing for ")
    assert told.endswith("these start from zero")


def test_a_snapshots_folder_is_taken_as_it_is(trained: dict[str, Trained], tmp_path: Path, pictures: Path) -> None:
    before = trained["sd1"]
    settings = {**TRAINED["sd1"][1], "init_from": str(before.run.snapshot(STEP))}
    config = tiny_config(tmp_path / "runs", "run", before.model_path, pictures, {"lora": settings})
    model = loading.load_model(config.model, "fp32")
    parts = lora.adapted(model, config.lora)
    initial = Initial.of(create_run(config), config.lora, model)
    lora.attach(parts, config.lora, model.family, model.clip_skip)
    assert initial
    assert initial.apply(parts) == ""
    expected = load_file(before.run.snapshot(STEP) / lora.LORA_FILE)
    found = lora.state(parts)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


FAULTS = {
    "a module of another model": ("holds|adapts 1 modules that this run does not, such as unet.elsewhere.to_q"),
    "other sizes": "is for another base model: unet.* has the shapes",
    "not finite": "values that are not finite",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_does_not_fit_the_model_is_refused(
    trained: dict[str, Trained], tmp_path: Path, pictures: Path, fault: str
) -> None:
    before, file = trained["sd1"], tmp_path / "lora.safetensors"
    tensors = load_file(before.run.snapshot(STEP) / lora.LORA_FILE)
    key = next(key for key in tensors if key.startswith("unet.") and key.endswith("to_q.lora_A.weight"))
    if fault == "other sizes":
        tensors[key] = torch.zeros(2, 7)
    elif fault == "not finite":
        tensors[key][0, 0] = torch.nan
    else:
        tensors["unet.elsewhere.to_q.lora_A.weight"], tensors["unet.elsewhere.to_q.lora_B.weight"] = torch.ones(2, 2, 2)
    save_file(tensors, file)
    with pytest.raises(ModelError, match=FAULTS[fault]):
        begin(tmp_path, before.model_path, pictures, {**LARGER, "init_from": str(file)})


def test_training_begins_from_the_file_and_goes_on_without_it(
    trained: dict[str, Trained], make_run: RunMaker, warm: Warm, tmp_path: Path
) -> None:
    file = tmp_path / "lora.safetensors"
    export.export(export.read(trained["sd1"].run, STEP), "kohya", "fp32", file)
    settings = {**TRAINED["sd1"][1], "lora_alpha": 6, "init_from": str(file)}
    run = make_run(lora=settings, train={"max_train_steps": 1, "learning_rate": 1e-12, "weight_decay": 0.0})
    record = run.read_record().init_from
    assert record
    assert (record.path, record.format, len(record.sha256)) == (str(file), "kohya", 64)
    warm.run("trainer", run.path)
    before, after = (
        load_file(folder / lora.LORA_FILE) for folder in (trained["sd1"].run.snapshot(STEP), run.snapshot(1))
    )
    halved = {key: value / 2 if "lora_B" in key else value for key, value in before.items()}
    assert all(torch.allclose(after[key], halved[key], atol=1e-6) for key in halved)

    file.write_bytes(b"another file")
    lengthen(run, steps=2)
    warm.run("trainer", run.path)
    assert run.snapshot(2).is_dir()


def test_a_file_that_changed_before_the_first_step_is_refused(
    trained: dict[str, Trained], make_run: RunMaker, tmp_path: Path
) -> None:
    file = tmp_path / "lora.safetensors"
    export.export(export.read(trained["sd1"].run, STEP), "kohya", "fp32", file)
    run = make_run(lora={**TRAINED["sd1"][1], "init_from": str(file)})
    file.unlink()
    export.export(export.read(trained["sd1"].run, STEP), "kohya", "fp16", file)
    with pytest.raises(ConfigError, match="has changed since this run was created"):
        Initial.of(run, run.read_config().lora, None)  # type: ignore[arg-type]  # no model is asked


def lengthen(run: RunDir, steps: int) -> None:
    text = run.config.read_text()
    run.config.write_text(text.replace("max_train_steps = 1\n", f"max_train_steps = {steps}\n"))
