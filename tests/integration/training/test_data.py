"""A data set as people have them, from the folder to evaluated pictures: shapes kept, encoded once."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.files.publication import read_manifest
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows
from tests.conftest import Warm, create_run, run_ranks, tiny_config
from tests.integration.conftest import weights_of

NO_ENCODER = """
from diffusers import AutoencoderKL
from transformers import CLIPTextModel
def encode(*arguments, **options):
    raise AssertionError("an encoder was used")
AutoencoderKL.encode = CLIPTextModel.forward = encode
"""
DIE_AFTER_FIVE_ENTRIES = """
import os, signal
from tasks.text_to_image.data import cache
real, count = cache._write, 0
def write(path, tensors):
    global count
    real(path, tensors)
    count += 1
    if count == 5:
        os.kill(os.getpid(), signal.SIGKILL)
cache._write = write
"""
SHAPES = {"5_tall dress": (60, 100), "1_wide dress": (200, 120), "2_square dress": (64, 64)}
SECTIONS: dict[str, dict[str, object]] = {
    "data": {"random_flip": True, "caption_dropout": 0.2, "trigger_word": "ohwx"},
    "train": {"max_train_steps": 4, "train_batch_size": 3, "snapshot_steps": 4, "learning_rate": 1e-2},
    "evaluation": {"num_prompts": 3, "num_seeds": 2, "batch_size": 4},
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """kohya's folders of three shapes, one folder captioned by its name alone."""
    folder = tmp_path_factory.mktemp("photos")
    colours = np.random.default_rng(0)  # pictures that look alike would be kept out of training
    for name, size in SHAPES.items():
        (folder / name).mkdir()
        for number in range(4):
            path = folder / name / f"{number}.jpg"
            Image.fromarray(colours.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(size).save(path)
            if "square" not in name:
                path.with_suffix(".caption").write_text(f"{name[2:]}, number {number}", encoding="utf-8")
    return folder


def make(folder: Path, name: str, model: Path, photos: Path, **more: dict[str, object]) -> RunDir:
    sections = {section: {**values, **more.get(section, {})} for section, values in SECTIONS.items()}
    named = ("5_tall dress/0", "1_wide dress/1", "2_square dress/2")
    sections["data"]["validation_ids"] = named
    return create_run(tiny_config(folder / "runs", name, model, photos, sections))


def losses(run: RunDir) -> list[float]:
    return [float(row["loss"]) for row in read_rows(run.train_csv)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, photos: Path, warm: Warm) -> tuple[RunDir, str]:
    """A run on these photos, and what its trainer said."""
    run = make(tmp_path_factory.mktemp("data"), "first", tiny_model, photos)
    return run, warm.run("trainer", run.path).stderr()


def test_pictures_are_trained_on_in_their_shapes_by_their_repeats(trained: tuple[RunDir, str]) -> None:
    run, said = trained
    assert "9 training pictures, 24 with repeats, in 3 bucket(s): 24×40 (3), 32×32 (3), 40×24 (3)" in said
    assert float(read_rows(run.train_csv)[-1]["epoch"]) == 4 * 3 / 24
    assert len(losses(run)) == 4


def test_a_second_run_on_the_same_pictures_uses_no_encoder_and_learns_the_same(
    trained: tuple[RunDir, str], tiny_model: Path, photos: Path, warm: Warm
) -> None:
    run, _ = trained
    again = make(run.path.parents[1], "second", tiny_model, photos)
    warm.run("trainer", again.path, prelude=NO_ENCODER)
    assert losses(again) == losses(run)
    assert weights_of(again, 4) == weights_of(run, 4)


def test_without_the_cache_the_encoders_are_used(
    trained: tuple[RunDir, str], tmp_path: Path, tiny_model: Path, photos: Path, warm: Warm
) -> None:
    cold = make(tmp_path, "cold", tiny_model, photos)
    program = warm.start("trainer", cold.path, prelude=NO_ENCODER)
    assert program.wait() == 1
    assert "an encoder was used" in program.stderr()


def test_encoding_that_was_killed_goes_on_where_it_was(
    trained: tuple[RunDir, str], tmp_path: Path, tiny_model: Path, photos: Path, warm: Warm
) -> None:
    run = make(tmp_path, "killed", tiny_model, photos)
    assert warm.start("trainer", run.path, prelude=DIE_AFTER_FIVE_ENTRIES).wait() == -signal.SIGKILL
    entries = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / ".cache").rglob("*.safetensors")}
    assert len(entries) == 5
    warm.run("trainer", run.path)
    assert {path: path.stat().st_mtime_ns for path in entries} == entries
    assert losses(run) == losses(trained[0])


def test_samples_have_the_shape_of_their_references(trained: tuple[RunDir, str], warm: Warm) -> None:
    run, _ = trained
    warm.run("evaluator", run.path)
    manifest = read_manifest(run.references)
    assert manifest
    sizes = {prompt_id: tuple(size) for prompt_id, size in manifest.details["sizes"].items()}
    assert sizes == {"5_tall dress/0": (24, 40), "1_wide dress/1": (40, 24), "2_square dress/2": (32, 32)}
    assert manifest.details["prompts"]["2_square dress/2"] == "ohwx, square dress"
    result = run.read_result(4)
    assert result
    assert result.status == "ok", result.reason
    assert len(result.samples) == 6
    for sample in result.samples:
        for path in (run.evaluation(4) / "images" / sample.image, run.references / f"{sample.prompt_id}.png"):
            with Image.open(path) as picture:
                assert picture.size == sizes[sample.prompt_id]
        assert sample.metrics["visual_loss"] is not None
    shapes = {sample.batch: sizes[sample.prompt_id] for sample in result.samples}
    assert all(shapes[sample.batch] == sizes[sample.prompt_id] for sample in result.samples)


def test_shuffled_tags_are_encoded_live(tmp_path: Path, tiny_model: Path, photos: Path, warm: Warm) -> None:
    run = make(tmp_path, "shuffled", tiny_model, photos, data={"shuffle_tags": True})
    warm.run("trainer", run.path)
    assert len(losses(run)) == 4
    cache = tmp_path / "runs" / ".cache"
    assert (cache / "latents").is_dir()
    assert not (cache / "texts").exists()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_learn_the_same_from_buckets(
    tmp_path: Path, tiny_model: Path, photos: Path, warm: Warm, processes: int
) -> None:
    one = make(tmp_path, "one", tiny_model, photos, train={"train_batch_size": 6})
    warm.run("trainer", one.path)
    several = make(
        tmp_path,
        "several",
        tiny_model,
        photos,
        train={"train_batch_size": 6 // processes},
        data={"cache_dir": str(tmp_path / "their-own")},
    )
    outcome = run_ranks(processes, "-m", "trainer", several.path)
    assert outcome.returncode == 0, outcome.stderr
    assert losses(several) == pytest.approx(losses(one), abs=1e-4)
