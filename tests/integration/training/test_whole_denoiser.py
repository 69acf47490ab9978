"""Runs that train every weight of the denoiser: exact after kill -9, evaluated, averaged, exported."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image, ImageChops
from safetensors.torch import load_file

from shared.config.loading import load_config
from shared.errors import ConfigError
from shared.run_folder.averages import is_average
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from tests.conftest import RunMaker, Warm, check, create_run, finish, tiny_config
from tests.integration.training.test_kills import MACHINE_DEPENDENT

LAST_STEP = 6
SECTIONS: dict[str, dict[str, object]] = {
    "train": {
        "max_train_steps": LAST_STEP,
        "learning_rate": 3e-3,
        "lr_warmup_steps": 1,
        "ema_decay": 0.9,
        "validation_steps": 3,
    },
    "lora": {"rank": 16, "lora_alpha": 16},
    "evaluation": {"averages": 1, "strengths": [0.4, 0.6, 0.8, 1.2]},
}
DIE_ONCE_STEP_4_IS_SAVED = """
import os, signal
from trainer.publisher import Publisher
real = Publisher._publish
def publish(self, target, manifest, write):
    real(self, target, manifest, write)
    if (target.parent.name, target.name) == ("checkpoints", "step-00000004"):
        os.kill(os.getpid(), signal.SIGKILL)
Publisher._publish = publish
"""
DRAW = """
import json, sys
from pathlib import Path
import torch
from diffusers import DiffusionPipeline
folder, result, out = map(Path, sys.argv[1:])
told = json.loads(result.read_text())
batch = [sample for sample in told["samples"] if sample["batch"] == 0]
settings = told["generation"]
torch.set_num_threads(settings["threads"])
pipeline = DiffusionPipeline.from_pretrained(folder)
pictures = pipeline(
    prompt=[sample["prompt"] for sample in batch],
    generator=[torch.Generator().manual_seed(sample["seed"]) for sample in batch],
    num_inference_steps=settings["num_inference_steps"], guidance_scale=settings["guidance_scale"],
    width=32, height=32,
).images
for sample, picture in zip(batch, pictures, strict=True):
    picture.save(out / sample["image"])
"""


def outcome(run: RunDir) -> tuple[list[dict[str, str]], dict[str, bytes]]:
    """What a run ends with, timestamps and speeds left out."""
    rows = [{key: row[key] for key in row.keys() - MACHINE_DEPENDENT} for row in read_rows(run.train_csv)]
    folders = [*(run.snapshot(step) for step in sorted(steps_in(run.snapshots))), run.checkpoint(LAST_STEP)]
    files = [path for folder in folders for path in sorted(folder.iterdir()) if path.name != "manifest.json"]
    return rows, {path.relative_to(run.path).as_posix(): path.read_bytes() for path in files}


def sections(what: str, tiny_model: Path, folder: Path) -> dict[str, dict[str, object]]:
    """Of a run; from scratch, by a narrower configuration and a base model that has no denoiser's weights."""
    train = {**SECTIONS["train"], "what": what}
    if what == "full":
        return {**SECTIONS, "train": {**train, "snapshot_dtype": "fp16"}}
    base = shutil.copytree(tiny_model, folder / "base")
    (base / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    config = json.loads((base / "unet" / "config.json").read_text())
    (folder / "narrow.json").write_text(json.dumps({**config, "block_out_channels": [16, 32]}))
    return {**SECTIONS, "train": train, "model": {"path": str(base), "denoiser": str(folder / "narrow.json")}}


@pytest.fixture(scope="module", params=["full", "scratch"])
def finished(
    request: pytest.FixtureRequest,
    warm: Warm,
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model: Path,
    pictures: Path,
) -> RunDir:
    """A run of each kind that nothing interrupted, evaluated."""
    folder = tmp_path_factory.mktemp(request.param)
    own = sections(request.param, tiny_model, folder)
    run = create_run(tiny_config(folder / "runs", "run", tiny_model, pictures, own))
    warm.run("trainer", run.path)
    warm.run("evaluator", run.path)
    return run


def test_a_run_that_is_killed_ends_bit_for_bit_like_an_untouched_one(
    finished: RunDir, warm: Warm, tmp_path: Path
) -> None:
    run = create_run(load_config(finished.config, [f"run.output_dir={tmp_path}"]))
    program = warm.start("trainer", run.path, prelude=DIE_ONCE_STEP_4_IS_SAVED)
    assert program.wait() == -signal.SIGKILL, program.stderr()
    program = warm.run("trainer", run.path)
    assert "resuming after step 4" in program.stderr()
    assert outcome(run) == outcome(finished)
    assert check(run) == []


def test_snapshots_hold_the_averaged_weights_and_load_with_plain_diffusers(finished: RunDir) -> None:
    snapshot, checkpoint = finished.snapshot(LAST_STEP), finished.checkpoint(LAST_STEP)
    weights = load_file(snapshot / "diffusion_pytorch_model.safetensors")
    averaged = load_file(checkpoint / "ema.safetensors")
    dtype = torch.float16 if finished.read_config().train.what == "full" else torch.float32
    assert {name: value.dtype for name, value in weights.items()} == dict.fromkeys(averaged, dtype)
    assert all(torch.equal(value, averaged[name].to(dtype)) for name, value in weights.items())
    assert any(
        not torch.equal(value, averaged[name]) for name, value in load_file(checkpoint / "adapter.safetensors").items()
    )
    loaded = UNet2DConditionModel.from_pretrained(snapshot, torch_dtype=dtype)
    assert all(torch.equal(value, weights[name]) for name, value in loaded.state_dict().items())
    assert str(finished.path.parent) not in (snapshot / "config.json").read_text()


def test_every_snapshot_is_evaluated_and_averages_are_exact(finished: RunDir) -> None:
    results = {step: finished.read_result(step) for step in steps_in(finished.evaluations)}
    assert {0, 2, 4, 6} < set(results)
    assert {result.status for result in results.values() if result} == {"ok"}
    pictures = {step: (finished.evaluation(step) / "images").glob("*.png") for step in (0, 2, 4, 6)}
    first = {step: sorted(paths)[0].read_bytes() for step, paths in pictures.items()}
    assert len(set(first.values())) == 4
    (average,) = [step for step in results if is_average(step)]
    manifest = json.loads((finished.snapshot(average) / "manifest.json").read_text())
    steps = manifest["details"]["averaged"]
    states = [load_file(finished.snapshot(step) / "diffusion_pytorch_model.safetensors") for step in steps]
    mean = load_file(finished.snapshot(average) / "diffusion_pytorch_model.safetensors")
    for name, value in mean.items():
        expected = sum(state[name].double() for state in states) / len(states)
        assert torch.equal(value, torch.as_tensor(expected).to(value.dtype))
    best = finished.read_best()
    assert best
    assert best.strength is None
    drawn = list(finished.strengths.rglob("result.json")) if finished.strengths.exists() else []
    assert {json.loads(path.read_text())["status"] for path in drawn} <= {"skipped"}
    assert check(finished) == []


def test_an_export_draws_the_evaluated_picture_in_plain_diffusers(finished: RunDir, warm: Warm, tmp_path: Path) -> None:
    folder, out = tmp_path / "pipeline", tmp_path / "out"
    options = ("--step", LAST_STEP, "--dtype", "fp32", "--output", folder)
    warm.run("tasks.export", finished.path, *options)
    out.mkdir()
    (tmp_path / "draw.py").write_text(DRAW)
    drawn = finish(sys.executable, tmp_path / "draw.py", folder, finished.evaluation(LAST_STEP) / "result.json", out)
    assert drawn.returncode == 0, drawn.stderr
    assert sorted(out.glob("*.png"))
    for path in sorted(out.glob("*.png")):
        with Image.open(path) as own, Image.open(finished.evaluation(LAST_STEP) / "images" / path.name) as evaluated:
            assert ImageChops.difference(own.convert("RGB"), evaluated.convert("RGB")).getbbox() is None
    assert not [path for path in folder.rglob("*.json") if str(finished.path.parent.parent) in path.read_text()]
    lora = warm.start("tasks.export", finished.path, "--format", "kohya")
    assert lora.wait() == 2
    assert "trains the whole denoiser" in lora.stderr()


def test_the_archive_of_an_export_is_the_folder(finished: RunDir, warm: Warm, tmp_path: Path) -> None:
    target = tmp_path / "run-fp16.zip"
    warm.run("tasks.export", finished.path, "--format", "diffusers", "--output", target)
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        assert {"model_index.json", "unet/diffusion_pytorch_model.safetensors"} <= set(archive.namelist())
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    again = warm.start("tasks.export", finished.path, "--output", target)
    assert again.wait() == 2
    assert "exists" in again.stderr()


def test_what_is_published_is_whole_and_needs_no_other_model(finished: RunDir, warm: Warm, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    done = warm.run("tasks.publish", finished.path, "--to", folder)
    assert "has no address" not in done.stdout() + done.stderr()
    assert {"README.md", "model_index.json", "unet", "vae", "text_encoder"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("what", ["full", "scratch"])
def test_what_makes_no_sense_without_a_lora_is_named_in_one_error(
    make_run: RunMaker, what: str, tmp_path: Path
) -> None:
    wrong: dict[str, dict[str, Any]] = {
        "train": {"what": what, "lora_plus_ratio": 16},
        "lora": {"rank": 4, "lora_alpha": 16, "use_dora": True},
        "model": {"quantization": "4bit"},
        "evaluation": {"strengths": [0.5]},
    }
    with pytest.raises(ConfigError) as refused:
        make_run(**wrong)
    for key in ("lora.rank", "lora.use_dora", "train.lora_plus_ratio", "model.quantization", "evaluation.strengths"):
        assert key in str(refused.value)
        assert f"remove {key}" in refused.value.hint
    assert not (tmp_path / "runs").exists()


def test_a_denoiser_that_does_not_fit_is_refused_before_anything_is_written(
    make_run: RunMaker, tiny_model: Path, tmp_path: Path
) -> None:
    config = json.loads((tiny_model / "unet" / "config.json").read_text())
    (tmp_path / "wide.json").write_text(json.dumps({**config, "in_channels": 8, "cross_attention_dim": 99}))
    (tmp_path / "none.json").write_text("{}")
    lora = {"rank": 16, "lora_alpha": 16}
    with pytest.raises(ConfigError, match=r"(?s)in_channels is 8, must be 4.*cross_attention_dim is 99, must be 32"):
        make_run(train={"what": "scratch"}, model={"denoiser": str(tmp_path / "wide.json")}, lora=lora)
    with pytest.raises(ConfigError, match="does not name its class"):
        make_run(train={"what": "scratch"}, model={"denoiser": str(tmp_path / "none.json")}, lora=lora)
    with pytest.raises(ConfigError, match="no configuration of a denoiser"):
        make_run(train={"what": "scratch"}, model={"denoiser": str(tmp_path / "absent.json")}, lora=lora)
    with pytest.raises(ConfigError, match=r"train\.what is lora"):
        make_run(model={"denoiser": str(tmp_path / "wide.json")})
    assert not (tmp_path / "runs").exists()
