"""From settings to a learner: on the tiny models, in memory, without a program started."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors import safe_open

from shared.data.pictures import upright_size
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows
from tasks.text_to_image.lora.lora import LORA_FILE
from tasks.text_to_image.training.diffusion_training import DiffusionTraining
from tasks.text_to_image.training.preparation import prepare
from tests.conftest import RunMaker
from trainer.learner import Learner


def training_of(run: RunDir) -> DiffusionTraining:
    return prepare(run, run.read_config(), Accelerator(cpu=True), lambda done, total: None, begins=True)


def learner_of(training: DiffusionTraining) -> Learner:
    return Learner(training.config, training.accelerator, training)


def learning(training: DiffusionTraining) -> set[str]:
    """Parameters of the whole pipeline that ask for a gradient, and those that hold one, by name."""
    parts = {"vae": training.model.pipeline.vae, **training.model.parts}
    return {
        f"{part}.{name}"
        for part, module in parts.items()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad or parameter.grad is not None
    }


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("text_encoder", [False, True])
def test_nothing_but_the_adapter_learns_where_captions_are_encoded_live(
    make_run: RunMaker, tiny_models: Path, family: str, text_encoder: bool
) -> None:
    run = make_run(
        model={"path": str(tiny_models / family)},
        data={"shuffle_tags": True},
        lora={"text_encoder": text_encoder},
    )
    training = training_of(run)
    learner_of(training).update()
    learnt = learning(training)
    assert all(".lora_A." in name or ".lora_B." in name for name in learnt)
    assert {name.partition(".")[0] for name in learnt} == ({*training.model.parts} if text_encoder else {"unet"})
    with torch.enable_grad():
        text = training.model.encode_captions(["a red dress"])
    assert text["encoder_hidden_states"].requires_grad is text_encoder


def test_the_loss_of_a_run_counts_by_its_masks(make_run: RunMaker, pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures, tmp_path / "masked")
    for picture in sorted((tmp_path / "masked").glob("*.png")):
        Image.new("L", upright_size(picture), 51).save(picture.with_suffix(".mask.png"))
    sections = {"data": {"path": str(tmp_path / "masked")}}
    losses = {
        name: learner_of(training_of(make_run(name, data={**sections["data"], **data}))).update().loss
        for name, data in {"files": {}, "off": {"masks": "off"}}.items()
    }
    assert losses["files"] == pytest.approx(0.2 * losses["off"])


def test_captions_that_are_cut_off_are_a_notice(make_run: RunMaker, tmp_path: Path) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (48, 48), (40 * number, 0, 0)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a red dress" if number else "dress " * 40)
    training = training_of(make_run(data={"path": str(folder)}))
    assert training.model.token_lengths(["dress " * 40]).counts == (40,)
    assert training.model.notices == (
        "1 of 6 captions are longer than the 30 tokens that are encoded: 10 tokens are cut off, 10 of "
        "the longest caption; data.max_token_length = 150 encodes all of them whole",
    )
    longer = training_of(make_run("longer", data={"path": str(folder), "max_token_length": 150}))
    assert longer.model.notices == ()
    text = longer.batches.at([0, 1]).text
    assert isinstance(text, dict)
    assert text["encoder_hidden_states"].shape[1] == 62


def test_a_snapshot_says_in_its_header_what_it_is(make_run: RunMaker, tmp_path: Path) -> None:
    training = training_of(make_run())
    training.write(tmp_path, training.weights(), 3)
    with safe_open(tmp_path / LORA_FILE, "pt") as file:
        assert file.metadata()["ss_steps"] == "3"
        assert file.metadata()["modelspec.hash_sha256"].startswith("0x")


def test_data_csv_says_of_each_picture_what_training_makes_of_it(make_run: RunMaker, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for number in range(6):
        size = (48, 96) if number == 5 else (64, 64)
        Image.fromarray(noise.integers(0, 255, (size[1], size[0], 3), np.uint8)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a red dress" if number else "dress " * 80)
    shutil.copy(folder / "1.png", folder / "again.png")
    (folder / "again.txt").write_text("a dress, again")
    run = make_run(data={"path": str(folder), "validation_ids": ["2", "again"], "num_validation": 2})
    training_of(run)
    rows = {row["id"]: row for row in read_rows(run.dataset_csv)}
    assert [rows[name]["split"] for name in ("0", "1", "2", "5", "again")] == [
        *("train", "left_out", "held_out", "train", "held_out")
    ]
    assert {name for name, row in rows.items() if row["alike"]} == {"1", "again"}
    assert rows["1"]["alike"] == rows["again"]["alike"] == "1"
    assert rows["0"]["tokens"] == "80"
    assert 0 < int(rows["0"]["tokens_cut"]) < 80
    assert rows["1"]["tokens_cut"] == "0"
    assert len(set(rows["1"]["bucket"].split("×"))) == 1
    width, _, height = rows["5"]["bucket"].partition("×")
    assert int(width) < int(height)
