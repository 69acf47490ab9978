"""Each family, and each kind of adapter, from training to a shipped file, on tiny models of the true architectures."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import diffusers
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image, ImageChops
from safetensors.torch import load_file

from shared.config.schema import LoraConfig
from shared.files.publication import verify
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows
from tasks.text_to_image import export
from tasks.text_to_image.families import loading
from tasks.text_to_image.lora import lora
from tests.conftest import Warm, check, create_run, tiny_config

TRAIN: dict[str, object] = {
    "max_train_steps": 8,
    "snapshot_steps": 4,
    "checkpointing_steps": 4,
    "checkpoints_total_limit": 2,
    "learning_rate": 2e-2,
}
CASES: dict[str, tuple[str, dict[str, dict[str, object]]]] = {
    "sd1": ("sd1", {}),
    "sd2": ("sd2", {"train": {"zero_terminal_snr": True, "snr_gamma": False}}),
    "sdxl": ("sdxl", {"data": {"caption_dropout": 0.2}}),
    "sdxl with text encoders": ("sdxl", {"lora": {"text_encoder": True}}),
    "dora": ("sd1", {"lora": {"use_dora": True, "text_encoder": True}}),
    "rslora": ("sd1", {"lora": {"use_rslora": True, "text_encoder": True, "lora_alpha": 3}}),
}
ORDINARY = ("sd1", "sd2", "sdxl", "dora", "rslora")
BOTH_ENCODERS = pytest.param("sdxl with text encoders", marks=pytest.mark.slow)


@dataclass(frozen=True)
class Trained:
    """A run, trained to its end and evaluated."""

    run: RunDir
    model: Path
    logs: str


@pytest.fixture(scope="module", params=[*ORDINARY, BOTH_ENCODERS])
def trained(
    request: pytest.FixtureRequest,
    warm: Warm,
    tmp_path_factory: pytest.TempPathFactory,
    tiny_models: Path,
    pictures: Path,
) -> Trained:
    family, changes = CASES[request.param]
    sections = {**changes, "train": {**TRAIN, **changes.get("train", {})}}
    folder = tmp_path_factory.mktemp("family")
    run = create_run(tiny_config(folder, "run", tiny_models / family, pictures, sections))
    warm.run("trainer", run.path)
    program = warm.run("evaluator", run.path, "--once")
    return Trained(run, tiny_models / family, program.stderr())


def test_every_snapshot_is_evaluated_and_changes_the_pictures(trained: Trained) -> None:
    run = trained.run
    rows = {row["step"]: row for row in read_rows(run.metrics_csv)}
    assert {row["status"] for row in rows.values()} == {"ok"}
    for row in rows.values():  # noise has no garment, two captions make no guard, one picture differs from no other
        reasons = [reason.partition(":")[0] for reason in row["reason"].split("; ")]
        missing = {column for columns in reasons for column in columns.split(", ")}
        assert missing == {"color_loss", "color_de00", "clip_t_shuffled", "seed_distance"}
    assert set(rows) == {"0", "4", "8"}
    assert "failed" not in trained.logs, "no swap had to be made good"
    result = run.read_result(8)
    assert result
    assert result.generation["rescale_betas_zero_snr"] == run.read_config().train.zero_terminal_snr
    for step in (4, 8):
        for picture in sorted((run.evaluation(step) / "images").glob("*.png")):
            with Image.open(picture) as drawn, Image.open(run.evaluation(0) / "images" / picture.name) as before:
                assert ImageChops.difference(drawn.convert("RGB"), before.convert("RGB")).getbbox() is not None
    assert check(run) == []


def test_every_part_has_learnt(trained: Trained) -> None:
    settings: LoraConfig = trained.run.read_config().lora
    weights = load_file(trained.run.snapshot(8) / lora.LORA_FILE)
    ups = {key: value for key, value in weights.items() if "lora_B" in key}
    model = loading.load_model(trained.run.read_config().model, "fp32")
    assert {key.partition(".")[0] for key in ups} == set(lora.adapted(model, settings))
    assert all(value.abs().max() > 0 for value in ups.values())
    assert {key: value.shape for key, value in weights.items()} == lora.expected_shapes(model, settings)


@pytest.mark.parametrize("trained", ["sd1", "sd2", "sdxl", BOTH_ENCODERS, "dora"], indirect=True)
def test_resumed_from_the_middle_it_ends_with_the_same_bytes(trained: Trained, warm: Warm, tmp_path: Path) -> None:
    resumed = RunDir(tmp_path / "run")
    shutil.copytree(trained.run.path, resumed.path)
    for folder in (resumed.snapshot(8), resumed.checkpoint(8)):
        shutil.rmtree(folder)
    program = warm.run("trainer", resumed.path)
    assert "resuming after step 4" in program.stderr()
    for folder in ("snapshots", "checkpoints"):
        for path in sorted((trained.run.path / folder / "step-00000008").iterdir()):
            if path.name != "manifest.json":
                assert (resumed.path / folder / "step-00000008" / path.name).read_bytes() == path.read_bytes()
    verify(resumed.snapshot(8))


def test_a_snapshot_swapped_in_after_another_draws_what_a_fresh_pipeline_draws(trained: Trained) -> None:
    assert drawn_after(trained) == [0, 8, 4]
    pictures, evaluated = redraw(trained, 4, trained.run.snapshot(4) / lora.LORA_FILE)
    assert difference(pictures, evaluated) == 0


def test_the_exported_file_draws_the_evaluated_pictures_in_plain_diffusers(trained: Trained, tmp_path: Path) -> None:
    form: export.Format = "diffusers" if trained.run.read_config().lora.use_dora else "kohya"
    export.export(export.read(trained.run, 8), form, "fp32", tmp_path / "lora.safetensors")
    pictures, evaluated = redraw(trained, 8, tmp_path / "lora.safetensors")
    assert difference(pictures, evaluated) <= 1, "of 255: the scale is applied in another order"


def drawn_after(trained: Trained) -> list[int]:
    """Steps in the order in which the evaluator evaluated them."""
    return sorted((0, 4, 8), key=lambda step: (trained.run.evaluation(step) / "result.json").stat().st_mtime_ns)


def difference(pictures: list[Image.Image], others: list[Image.Image]) -> int:
    """Largest difference of a value, of 255."""
    pairs = zip(pictures, others, strict=True)
    return max(high for one, other in pairs for _, high in ImageChops.difference(one, other).getextrema())


def redraw(trained: Trained, step: int, file: Path) -> tuple[list[Image.Image], list[Image.Image]]:
    """A result's pictures drawn again by plain diffusers with this LoRA, and as they were evaluated."""
    result = trained.run.read_result(step)
    assert result
    made = result.generation
    pipeline = DiffusionPipeline.from_pretrained(trained.model)
    settings = {}
    if made["rescale_betas_zero_snr"]:
        assert (made["prediction_type"], made["timestep_spacing"]) == ("v_prediction", "trailing")
        settings = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    pipeline.scheduler = getattr(diffusers, made["scheduler"]).from_config(pipeline.scheduler.config, **settings)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(file)
    images = trained.run.evaluation(step) / "images"
    evaluated = [Image.open(images / sample.image).convert("RGB") for sample in result.samples]
    threads = torch.get_num_threads()
    torch.set_num_threads(made["threads"])
    drawn = pipeline(
        prompt=[sample.prompt for sample in result.samples],
        generator=[torch.Generator().manual_seed(sample.seed) for sample in result.samples],
        num_inference_steps=made["num_inference_steps"],
        guidance_scale=made["guidance_scale"],
        width=evaluated[0].width,
        height=evaluated[0].height,
    ).images
    torch.set_num_threads(threads)
    return drawn, evaluated
