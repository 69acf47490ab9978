"""`init`: what it sees is true, what it writes can be read, trained with, and does not overwrite."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from run import app
from shared.config.loading import load_config
from shared.config.save_interval import parse
from shared.data.survey import survey
from shared.errors import DataError
from shared.machine.hardware import Gpu
from tasks.text_to_image import first_config, init, task
from tasks.text_to_image.families.known import EMBEDDED, FAMILIES
from tasks.text_to_image.families.stable_diffusion import Pocket
from tasks.text_to_image.models import base_model, presets
from tests.conftest import Warm, run_module


def data_set(folder: Path, count: int, *, captioned: int | None = None) -> Path:
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (64 + number, 96), "red").save(folder / f"{number}.png")
        if number < (count if captioned is None else captioned):
            (folder / f"{number}.txt").write_text(f"a red dress number {number}")
    return folder


def test_the_survey_counts_measures_and_reads(tmp_path: Path) -> None:
    seen = survey(data_set(tmp_path / "dresses", 5))
    assert (seen.num_images, len(seen.captions), seen.median_short_side) == (5, 5, 66)
    assert seen.sentences()[1].startswith("64 to 68 wide, 96 to 96 high")
    assert "5 words in the median, 5 different" in seen.sentences()[2]
    assert not seen.problems


def test_a_picture_that_is_cut_off_is_said(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "dresses", 5)
    picture = folder / "2.png"
    picture.write_bytes(picture.read_bytes()[:-40])
    assert [problem for problem in survey(folder).problems if "2.png" in problem]


def test_missing_captions_are_said_and_do_not_stop_the_survey(tmp_path: Path) -> None:
    seen = survey(data_set(tmp_path / "dresses", 5, captioned=3))
    assert len(seen.captions) == 3
    assert any("4.png" in problem for problem in seen.problems)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures"):
        survey(tmp_path)


@pytest.mark.parametrize(
    ("count", "held_out", "steps"),
    [
        (3, 2, 500),
        (7, 2, 500),
        (8, 4, 500),
        (12, 4, 500),
        (24, 7, 500),
        (50, 10, 1000),
        (80, 12, 1700),
        (1000, 24, 4000),
    ],
)
def test_held_out_pairs_and_steps_follow_the_number_of_pictures(
    tmp_path: Path, count: int, held_out: int, steps: int
) -> None:
    seen = survey(data_set(tmp_path / "one", 1))
    seen = type(seen)(count, seen.sizes, seen.captions)
    path = tmp_path / "c.toml"
    path.write_text(first_config.render(seen, presets.recommend(FAMILIES["sd1"], None), "pocket", str(tmp_path), "one"))
    config = load_config(path)
    assert (config.data.num_validation, config.train.max_train_steps) == (held_out, steps)
    assert config.train.snapshot_steps == parse(config.train.validation_steps)
    assert config.evaluation.num_prompts <= held_out
    assert ("with 7, from 21 pictures on, a large gain is seen" in path.read_text()) == (count < 21)
    assert config.evaluation.confirm_prompts > 0, "every run has a final"
    assert (config.evaluation.num_seeds, config.evaluation.confirm_seeds) == (1, 1), "drawing on a CPU is slow"
    assert config.run.preset == "sd1 on CPU"


def test_captions_beyond_sixteen_are_kept_for_the_final_where_drawing_is_quick(tmp_path: Path) -> None:
    seen = survey(data_set(tmp_path / "one", 1))
    gpu = Gpu(0, "a card", 0.0, 24 * 1024.0, (8, 0))
    path = tmp_path / "c.toml"
    for count, further in ((150, 16), (240, 8)):
        pictures = type(seen)(count, seen.sizes, seen.captions)
        path.write_text(
            first_config.render(pictures, presets.recommend(FAMILIES["sd1"], gpu), "pocket", str(tmp_path), "one")
        )
        config = load_config(path)
        assert config.evaluation.confirm_prompts == further
        assert config.evaluation.num_prompts + further >= config.data.num_validation
        assert config.evaluation.confirm_seeds == config.evaluation.num_seeds


@pytest.mark.parametrize(
    ("cached", "hub_answers", "chosen", "reason"),
    [
        ((), False, "efficientnet-lite0", "the hub did not answer"),
        ((), True, "facebook/dinov2-base", "downloads it once"),
        (("google/siglip2-base-patch16-224",), False, "google/siglip2-base-patch16-224", "on this machine"),
    ],
)
def test_the_best_perceptual_encoder_that_can_be_had_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cached: tuple[str, ...],
    hub_answers: bool,
    chosen: str,
    reason: str,
) -> None:
    monkeypatch.setattr(
        first_config.files, "is_at_hand", lambda name, ask_hub: name in cached or (ask_hub and hub_answers)
    )
    seen, path = survey(data_set(tmp_path / "dresses", 8)), tmp_path / "c.toml"
    for family, visual in ((FAMILIES["sd1"], chosen), (Pocket(), "efficientnet-lite0")):
        path.write_text(first_config.render(seen, presets.recommend(family, None), "pocket", str(tmp_path), "one"))
        assert load_config(path).evaluation.visual == visual
        assert (reason in path.read_text()) == (family.name == "sd1")


def test_two_pictures_are_too_few(tmp_path: Path) -> None:
    seen = survey(data_set(tmp_path / "two", 2))
    with pytest.raises(DataError, match="at least 3"):
        first_config.render(seen, presets.recommend(Pocket(), None), "pocket", "two", "two")


@pytest.mark.parametrize(
    ("folder", "name"), [("My Dresses", "My-Dresses"), ("..", "first-run"), ("été", "ete"), ("Größe 1", "Grosse-1")]
)
def test_a_run_is_named_after_its_data_set(folder: str, name: str) -> None:
    assert first_config.run_name(folder) == name


def test_a_file_whose_name_no_run_can_have_names_its_run(tmp_path: Path) -> None:
    folder, target = data_set(tmp_path / "dresses", 8), tmp_path / "my dress.toml"
    done = CliRunner().invoke(app, ["init", str(folder), "--model", "pocket", "--output", str(target)])
    assert done.exit_code == 0, done.output
    assert load_config(target).run.name == "my-dress"


def test_of_the_embedded_flow_model_a_config_is_written_that_draws_by_its_own_scheduler(tmp_path: Path) -> None:
    folder, target = data_set(tmp_path / "dresses", 8), tmp_path / "dress.toml"
    done = CliRunner().invoke(app, ["init", str(folder), "--model", "pocket-flow", "--output", str(target)])
    assert done.exit_code == 0, done.output
    assert "model: pocket-flow, a miniature model that comes with Darkroom" in done.output
    config = load_config(target)
    assert (config.model.path, config.data.resolution) == ("pocket-flow", 128)
    assert (config.evaluation.scheduler, config.evaluation.fashion_clip) == ("own", "pocket")


def test_copies_count_once_where_pictures_are_held_out(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "dresses", 8)
    for path in sorted(folder.iterdir()):
        shutil.copy(path, folder / f"again-{path.name}")
    seen = survey(folder)
    assert (seen.num_images, seen.num_copies) == (16, 8)
    assert [notice for notice in seen.notices if notice.startswith("8 picture(s) are copies of others")]
    text = first_config.render(seen, presets.recommend(Pocket(), None), "pocket", str(folder), "dresses")
    assert "num_validation = 4 # of 8:" in text
    assert "views of each of 8 pictures" in text


def test_init_writes_a_config_that_trains_and_never_overwrites(
    tmp_path: Path, tiny_model: Path, pictures: Path, warm: Warm
) -> None:
    shutil.copytree(pictures, tmp_path / "pictures")
    config = tmp_path / "mine.toml"
    arguments = ("init", tmp_path / "pictures", "--model", tiny_model, "--output", config)
    written = warm.run("run", *arguments).stdout()
    assert "each snapshot is evaluated on 4 held-out captions" in written
    assert "memory on " in written
    assert f"model: {tiny_model}, a sd1 model; it predicts noise" in written
    lengths = re.search(r"captions have up to \d+ tokens, and up to 30 are encoded", written)
    assert lengths
    assert f"wrote {config}; read it, then: run.py train {config}" in written
    text = config.read_text()
    refused = warm.start("run", *arguments)
    assert (refused.wait(), config.read_text()) == (2, text)
    assert "--force" in refused.stderr()
    overrides = (f"run.output_dir={tmp_path / 'runs'}", "data.resolution=32", "train.max_train_steps=2")
    trained = warm.run("run", "train", config, *overrides, "--no-evaluator", "--no-dashboard").stdout()
    assert "memory on this machine, estimated: trainer" in trained
    assert f"• {lengths[0]}" in trained
    record = (tmp_path / "runs" / "mine" / "run.json").read_text()
    assert '"name": "sd1 on CPU"' in record
    assert '"activations"' in record


def test_a_run_with_pictures_for_regularisation_has_twice_the_steps(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    data_set(folder / "10_sks dress", 100)
    plain = first_config.render(
        survey(folder), presets.recommend(FAMILIES["sd1"], None), "pocket", str(folder), "project"
    )
    data_set(folder / "reg", 3)
    beside = first_config.render(
        survey(folder), presets.recommend(FAMILIES["sd1"], None), "pocket", str(folder), "project"
    )
    steps = [int(text.partition("max_train_steps = ")[2].split()[0]) for text in (plain, beside)]
    assert steps == [2200, 4000]
    assert "num_validation = 12 # of 100:" in beside
    assert "4 an update, 2 of them for regularisation" in beside


def test_init_lists_the_problems_also_where_too_little_is_left(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "dresses", 2)
    (folder / "3.gif").touch()
    done = CliRunner().invoke(app, ["init", str(folder), "--model", "pocket", "--output", str(tmp_path / "c.toml")])
    assert done.exit_code == 2
    assert "3.gif: .gif pictures are not read" in done.output
    assert "at least 3 are needed" in done.output
    assert not (tmp_path / "c.toml").exists()


def test_init_writes_the_trigger_word(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "dresses", 6, captioned=0)
    output = tmp_path / "c.toml"
    asked = ["init", str(folder), "--model", "pocket", "--output", str(output), "--trigger-word", "ohwx"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "6 of 6 pictures have no caption: the trigger word 'ohwx' is theirs" in done.output
    assert "to repair" not in done.output
    assert load_config(output).data.trigger_word == "ohwx"


def test_init_says_how_many_problems_to_mend_first_and_how(tmp_path: Path, tiny_model: Path, pictures: Path) -> None:
    shutil.copytree(pictures, tmp_path / "pictures")
    next((tmp_path / "pictures").rglob("*.txt")).unlink()
    config = tmp_path / "mine.toml"
    written = run_module("run", "init", tmp_path / "pictures", "--model", tiny_model, "--output", config)
    assert written.returncode == 0, written.stderr
    assert "or give a trigger word (data.trigger_word; of init and evaluate: --trigger-word WORD)" in written.stdout
    assert written.stdout.endswith(f"wrote {config}; repair the 1 problem(s) above, then: run.py train {config}\n")


def test_few_pictures_are_all_learnt_and_prompts_are_proposed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data_set(tmp_path / "hat", 4)
    done = CliRunner().invoke(app, ["init", "hat", "--model", "pocket", "--trigger-word", "sks"])
    assert done.exit_code == 0, done.output
    config = load_config(tmp_path / "hat.toml")
    assert (config.data.num_validation, config.evaluation.num_seeds, config.train.validation_steps) == (0, 4, None)
    assert config.evaluation.prompts == str(tmp_path / "hat-prompts.txt")
    text = (tmp_path / "hat.toml").read_text()
    assert "all 4 pictures are learnt: snapshots are evaluated by prompts of your own instead" in text
    assert "[trigger], in a forest" in (tmp_path / "hat-prompts.txt").read_text()
    assert "each snapshot is evaluated on 7 prompts of your own. With 10 snapshots, " in done.output
    (tmp_path / "hat-prompts.txt").write_text("my hat\n")
    CliRunner().invoke(app, ["init", "hat", "--model", "pocket", "--trigger-word", "sks", "--force"])
    assert (tmp_path / "hat-prompts.txt").read_text() == "my hat\n", "what a person wrote stays"


def test_prompts_that_are_given_take_the_place_of_held_out_pictures_only_in_a_small_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("a hat\na cap\n")
    for count, expected in ((12, (0, 16)), (24, (7, 7))):
        data_set(tmp_path / f"set{count}", count)
        output = f"configs/{count}.toml"
        arguments = ["init", f"set{count}", "--model", "pocket", "--prompts", "mine.txt", "--output", output]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        config = load_config(tmp_path / output)
        assert (config.data.num_validation, config.evaluation.num_prompts) == expected
        assert config.evaluation.prompts == str(tmp_path / "mine.txt")
    (tmp_path / "mine.txt").write_text("a hat --x\n")
    done = CliRunner().invoke(app, ["init", "set12", "--model", "pocket", "--prompts", "mine.txt"])
    assert done.exit_code == 2
    assert not (tmp_path / "set12.toml").exists()


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_folder_of_an_embedded_model_is_proposed_like_its_keyword(tmp_path: Path, name: str) -> None:
    folder, texts = data_set(tmp_path / "dresses", 3), list[str]()
    for model in (name, str(base_model.EMBEDDED_FOLDERS[name])):
        target = tmp_path / "dresses.toml"
        arguments = ["init", str(folder), "--model", model, "--output", str(target), "--force"]
        ended = CliRunner().invoke(app, arguments)
        assert ended.exit_code == 0, ended.output
        texts.append(target.read_text(encoding="utf-8").replace(f'path = "{model}"', "path"))
    assert texts[0] == texts[1]
    assert "resolution = 128 # what the base model was trained on" in texts[0]


@pytest.mark.parametrize(("what", "steps", "rate"), [("full", 500, 1e-5), ("scratch", 4000, 1e-4)])
def test_init_proposes_training_every_weight(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, what: str, steps: int, rate: float
) -> None:
    folder, target = data_set(tmp_path / "dresses", 24), tmp_path / "dresses.toml"
    t4 = Gpu(0, "Tesla T4", 0.0, 14.75 * 1024, (7, 5))
    monkeypatch.setattr(init.hardware, "usable_gpus", lambda: [t4])
    arguments = ["init", str(folder), "--model", str(tiny_model), "--what", what, "--output", str(target)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    config = load_config(target)
    assert (config.train.what, config.train.max_train_steps, config.train.learning_rate) == (what, steps, rate)
    assert config.train.train_batch_size == 4
    task.plan(config, print)  # nothing is refused
    text = target.read_text()
    assert "LoRA" not in text
    assert "rank" not in text


def test_init_refuses_what_cannot_be_trained(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "dresses", 5)
    done = CliRunner().invoke(app, ["init", str(folder), "--what", "half", "--output", str(tmp_path / "c.toml")])
    assert done.exit_code == 2
    assert "--what is half, must be lora, full or scratch" in done.output
    assert not (tmp_path / "c.toml").exists()
