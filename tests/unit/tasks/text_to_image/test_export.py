"""What was trained draws the same picture from every format, read back by plain diffusers and PEFT."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from peft import PeftModel
from safetensors import safe_open

from shared.errors import ModelError, RunFolderError
from shared.files.publication import publish
from shared.run_folder.file_to_ship import chosen_step
from shared.run_folder.records.best import Best
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.records.strength import Strength
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image import export, task
from tasks.text_to_image.families import loading
from tasks.text_to_image.lora import lora
from tasks.text_to_image.lora.description import describe
from tests.conftest import Warm, create_run, tiny_config

ATTENTION = ["to_k", "to_q", "to_v", "to_out.0"]
CONVOLUTIONS = {"conv_rank": 1, "conv_alpha": 2.5}
STEP = 20


@dataclass(frozen=True)
class Trained:
    """A run with a snapshot of random weights, and the picture the model draws that they are attached to."""

    run: RunDir
    model_path: Path
    picture: torch.Tensor


def draw(pipeline: Any) -> torch.Tensor:
    """(1, 3, 32, 32), 0 to 1, fp32."""
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        "a red dress",
        negative_prompt="blue",
        num_inference_steps=2,
        height=32,
        width=32,
        generator=torch.Generator().manual_seed(3),
        output_type="pt",
    ).images


def train(folder: Path, model_path: Path, pictures: Path, settings: dict[str, object]) -> Trained:
    sections: dict[str, dict[str, object]] = {"lora": settings, "data": {"trigger_word": "zwx"}}
    made = tiny_config(folder / "runs", "run", model_path, pictures, sections)
    run = create_run(made)
    model = loading.load_model(made.model, "fp32")
    parts = lora.adapted(model, made.lora)
    lora.attach(parts, made.lora, model.family, model.clip_skip)
    generator = torch.Generator().manual_seed(1)
    lora.restore(parts, {key: noisy(value, key, generator) for key, value in lora.state(parts).items()})
    text = describe(made, model.family, model.objective, 9, STEP)
    manifest = Manifest(kind="snapshot", run_id=run.read_record().run_id, step=STEP)
    publish(
        run.staging,
        run.snapshot(STEP),
        manifest,
        lambda stage: lora.write(stage, lora.state(parts), lora.metadata(parts), text),
    )
    return Trained(run, model_path, draw(model.pipeline))


def noisy(value: torch.Tensor, key: str, generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(value.shape, generator=generator)
    return value * (1 + 0.1 * noise) if "magnitude" in key else 0.1 * noise


CASES: dict[str, tuple[str, dict[str, object]]] = {
    "sd1 attention": ("sd1", {"rank": 3, "lora_alpha": 2}),
    "sd1 all": ("sd1", {"target_modules": "all", "text_encoder": True, "rank": 3, "use_rslora": True, **CONVOLUTIONS}),
    "sd1 dora": ("sd1", {"target_modules": [*ATTENTION, "conv1"], "text_encoder": True, "use_dora": True}),
    "sd2 all-linear": ("sd2", {"target_modules": "all-linear", "text_encoder": True, "rank": 1, "lora_alpha": 0.5}),
    "sdxl all": ("sdxl", {"target_modules": "all", "text_encoder": True, "lora_alpha": 5, **CONVOLUTIONS}),
    "sdxl rslora": ("sdxl", {"target_modules": "transformer", "rank": 3, "use_rslora": True}),
}


@pytest.fixture(scope="module", params=CASES)
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_models: Path, pictures: Path
) -> Trained:
    diffusers_logging.set_verbosity_error()
    family, settings = CASES[request.param]
    return train(tmp_path_factory.mktemp("trained"), tiny_models / family, pictures, settings)


@pytest.fixture
def plain(trained: Trained) -> Any:
    """The base model as anybody loads it."""
    pipeline: Any = DiffusionPipeline.from_pretrained(trained.model_path)
    assert distance(draw(pipeline), trained.picture) > 1e-2
    return pipeline


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())


def uses_dora(trained: Trained) -> bool:
    return trained.run.read_config().lora.use_dora


@pytest.mark.parametrize("form", ["diffusers", "kohya"])
def test_a_file_read_by_diffusers_draws_the_same_picture(
    trained: Trained, plain: Any, tmp_path: Path, form: export.Format
) -> None:
    adapter, target = export.read(trained.run, STEP), tmp_path / "lora.safetensors"
    if form == "kohya" and uses_dora(trained):
        with pytest.raises(ModelError, match="cannot hold this DoRA"):
            export.export(adapter, form, "fp32", target)
        assert list(tmp_path.iterdir()) == []
        return
    export.export(adapter, form, "fp32", target)
    plain.load_lora_weights(target)
    assert distance(draw(plain), trained.picture) <= 1e-5


def test_folders_read_by_peft_draw_the_same_picture(trained: Trained, plain: Any, tmp_path: Path) -> None:
    export.export(export.read(trained.run, STEP), "peft", "fp32", tmp_path / "adapter")
    for folder in (tmp_path / "adapter").iterdir():
        wrapped = PeftModel.from_pretrained(getattr(plain, folder.name), str(folder))
        setattr(plain, folder.name, wrapped.base_model.model)
    assert distance(draw(plain), trained.picture) <= 1e-5
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory, tiny_models: Path, pictures: Path) -> Trained:
    settings: dict[str, object] = {"rank": 4, "lora_alpha": 2, "text_encoder": True}
    return train(tmp_path_factory.mktemp("sd1"), tiny_models / "sd1", pictures, settings)


def header(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata()


def test_sdxl_names_are_those_of_the_authors_checkpoint(
    tmp_path: Path, tiny_models: Path, pictures: Path, tiny_single_files: Path
) -> None:
    """As ComfyUI finds a module: by the checkpoint's own name, dots as underscores."""
    trained = train(tmp_path, tiny_models / "sdxl", pictures, {"target_modules": "all"})
    export.export(export.read(trained.run, STEP), "kohya", "fp32", tmp_path / "lora.safetensors")
    with safe_open(tiny_single_files / "sdxl.safetensors", "pt") as file:
        prefix, shapes = "model.diffusion_model.", {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    theirs = {
        "lora_unet_" + key.removeprefix(prefix).removesuffix(".weight").replace(".", "_")
        for key, shape in shapes.items()
        if key.startswith(prefix) and key.endswith(".weight") and len(shape) > 1
    }
    with safe_open(tmp_path / "lora.safetensors", "pt") as file:
        ours = {key.partition(".")[0] for key in file.keys()}  # noqa: SIM118
    assert ours == theirs


def test_alpha_carries_the_whole_scale(tmp_path: Path, tiny_models: Path, pictures: Path) -> None:
    settings: dict[str, object] = {"rank": 4, "lora_alpha": 3, "use_rslora": True}
    trained = train(tmp_path, tiny_models / "sd1", pictures, settings)
    export.export(export.read(trained.run, STEP), "kohya", "fp16", tmp_path / "lora.safetensors")
    with safe_open(tmp_path / "lora.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    alphas = {key: value for key, value in tensors.items() if key.endswith(".alpha")}
    assert len(alphas) * 3 == len(tensors)
    assert {(value.dtype, value.shape, float(value)) for value in alphas.values()} == {(torch.float32, (), 3 * 4**0.5)}
    assert {value.dtype for key, value in tensors.items() if key not in alphas} == {torch.float16}
    assert header(tmp_path / "lora.safetensors")["ss_network_alpha"] == "6"
    assert "ss_network_args" not in header(tmp_path / "lora.safetensors")


def test_convolutions_have_their_own_rank_and_alpha_in_kohyas_file(
    tmp_path: Path, tiny_model: Path, pictures: Path
) -> None:
    settings: dict[str, object] = {"target_modules": ["to_q", "conv1"], "rank": 4, "lora_alpha": 6, **CONVOLUTIONS}
    trained = train(tmp_path, tiny_model, pictures, settings)
    export.export(export.read(trained.run, STEP), "kohya", "fp32", tmp_path / "lora.safetensors")
    with safe_open(tmp_path / "lora.safetensors", "pt") as file:
        found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    sizes = {
        ("conv1" in key, len(value), float(found[key.replace("lora_down.weight", "alpha")]))
        for key, value in found.items()
        if key.endswith("lora_down.weight")
    }
    assert sizes == {(False, 4, 6.0), (True, 1, 2.5)}
    said = header(tmp_path / "lora.safetensors")
    assert (said["ss_network_dim"], said["ss_network_alpha"]) == ("4", "6")
    assert json.loads(said["ss_network_args"]) == {"conv_dim": "1", "conv_alpha": "2.5"}


def test_kohya_names_of_sd1_are_what_its_readers_look_for(sd1: Trained, tmp_path: Path) -> None:
    export.export(export.read(sd1.run, STEP), "kohya", "fp32", tmp_path / "lora.safetensors")
    with safe_open(tmp_path / "lora.safetensors", "pt") as file:
        keys = set(file.keys())
    module = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0"
    text = "lora_te_text_model_encoder_layers_1_self_attn_out_proj"
    for name in (module, text):
        assert {f"{name}.lora_down.weight", f"{name}.lora_up.weight", f"{name}.alpha"} <= keys
    assert all(key.startswith(("lora_unet_", "lora_te_text_model_")) for key in keys)
    assert "lora_adapter_metadata" not in header(tmp_path / "lora.safetensors")


def test_peft_folders_say_rank_alpha_and_base_model(sd1: Trained, tmp_path: Path) -> None:
    export.export(export.read(sd1.run, STEP), "peft", "fp32", tmp_path / "adapter")
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {"unet", "text_encoder"}
    facts = json.loads((tmp_path / "adapter" / "unet" / "adapter_config.json").read_text())
    assert (facts["r"], facts["lora_alpha"], facts["peft_type"]) == (4, 2, "LORA")
    assert facts["base_model_name_or_path"] == "sd1"


def test_a_folder_of_parts_fits_into_one_archive(sd1: Trained, tmp_path: Path) -> None:
    adapter = export.read(sd1.run, STEP)
    export.export(adapter, "peft", "fp16", tmp_path / "adapter")
    export.export(adapter, "peft", "fp16", tmp_path / "adapter.zip")
    assert {path.name for path in tmp_path.iterdir()} == {"adapter", "adapter.zip"}
    shutil.unpack_archive(tmp_path / "adapter.zip", tmp_path / "unpacked")
    files = [path for path in sorted((tmp_path / "adapter").rglob("*")) if path.is_file()]
    assert len(files) == 4
    for path in files:
        assert (tmp_path / "unpacked" / path.relative_to(tmp_path / "adapter")).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("form", export.FORMATS)
def test_nothing_is_overwritten(sd1: Trained, tmp_path: Path, form: export.Format) -> None:
    target = tmp_path / "lora"
    target.write_text("mine")
    with pytest.raises(RunFolderError, match="exists"):
        export.export(export.read(sd1.run, STEP), form, "fp32", target)
    assert target.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [target]


def test_a_value_too_large_for_fp16_is_refused(sd1: Trained, tmp_path: Path) -> None:
    adapter = export.read(sd1.run, STEP)
    large = {**adapter.weights, next(iter(adapter.weights)): torch.tensor([1e6])}
    adapter = export.Adapter(large, adapter.settings, adapter.description, adapter.family)
    with pytest.raises(ModelError, match="is too large for fp16") as refused:
        export.export(adapter, "diffusers", "fp16", tmp_path / "lora.safetensors")
    assert "bf16" in refused.value.hint


def test_the_best_snapshot_is_exported_only_once_there_is_one(sd1: Trained, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    shutil.copytree(sd1.run.path, run.path)
    with pytest.raises(RunFolderError, match="is the best yet"):
        chosen_step(run, "best")
    Best(step=STEP, snapshot="", reason="", better_than_base=False, num_evaluated=1).write(run.best)
    assert chosen_step(run, "best") == chosen_step(run, "20") == STEP
    for asked in ("10", "first", "-1"):
        with pytest.raises(RunFolderError, match=f"no snapshot of step {asked}") as refused:
            chosen_step(run, asked)
        assert refused.value.hint == "choose one of: 20"


def test_the_header_says_the_recommended_strength_of_the_snapshot_to_ship(sd1: Trained, tmp_path: Path) -> None:
    run = RunDir(shutil.copytree(sd1.run.path, tmp_path / "run"))
    strength = Strength(recommended=0.8, drawn=(), lower=0.7, reason="")
    best = Best(step=STEP, snapshot="", reason="", better_than_base=True, num_evaluated=2, strength=strength)
    best.write(run.best)
    target = tmp_path / "kohya.safetensors"
    export.export(export.read(run, STEP), "kohya", "fp16", target)
    assert header(target)["modelspec.usage_hint"] == "use at strength 0.8"
    best.model_copy(update={"step": STEP + 1}).write(run.best)
    assert "modelspec.usage_hint" not in export.read(run, STEP).description, "it is another snapshot's"


def test_the_command_writes_into_the_run_folder_and_says_where(sd1: Trained, warm: Warm) -> None:
    asked = ("--step", STEP, "--dtype", "bf16")
    done = warm.run("run", "export", sd1.run.path, *asked, "--output", sd1.run.path / "300")
    assert done.stdout() == f"step 20 as kohya, bf16: {sd1.run.path / '300.safetensors'}\n"
    done = warm.run("run", "export", sd1.run.path, "--step", STEP)
    target = sd1.run.exports / "run-000020-kohya.safetensors"
    assert done.stdout() == f"step 20 as kohya, fp16: {target}\n"
    assert header(target)["modelspec.date"] == sd1.run.read_record().created


def test_one_file_gets_the_ending_that_programs_look_for_and_a_folder_takes_it(tmp_path: Path) -> None:
    usual = tmp_path / "exports" / "run-000020-kohya.safetensors"
    for output, target in {
        None: usual,
        tmp_path / "300": tmp_path / "300.safetensors",
        tmp_path / "v1.5": tmp_path / "v1.5.safetensors",
        tmp_path / "lora.safetensors": tmp_path / "lora.safetensors",
        tmp_path: tmp_path / usual.name,
    }.items():
        assert export.target_of(output, usual, "kohya") == target
    assert export.target_of(tmp_path / "parts", usual, "peft") == tmp_path / "parts"


def test_the_dashboard_offers_every_format_that_can_be_written() -> None:
    assert {form.name for form in task.EXPORTS} == set(export.FORMATS)
    assert [form.file for form in task.EXPORTS if form.file] == [lora.LORA_FILE]
