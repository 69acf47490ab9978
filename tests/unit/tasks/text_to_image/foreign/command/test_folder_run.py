"""`run.py evaluate FOLDER`: what is wrong is told at once and nothing is written; what is right becomes a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from shared.errors import ConfigError, DarkroomError, DataError, ModelError, RunFolderError
from shared.files.publication import verify
from shared.launch import power
from shared.launch.resume import require_trainable
from shared.run_folder.run_dir import steps_in
from tasks.text_to_image import foreign
from tasks.text_to_image.evaluation.training_set import TrainingSet
from tasks.text_to_image.foreign.command import pictures
from tasks.text_to_image.models.weights_header import read_header
from tasks.text_to_image.scoring.metric_input import NotGivenError
from tests.conftest import check
from tests.unit.tasks.text_to_image.foreign.conftest import MODULE, followed, of_pictures, opened, shown, write


def test_it_becomes_a_run_of_links_whose_references_are_all_held_out(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    run, said = opened(trained, tmp_path, base=str(base), references=real)
    assert run.path == tmp_path / "runs" / "dress"
    assert steps_in(run.snapshots) == {50, 100, 150}
    record, config = run.read_record(), run.read_config()
    assert record.imported
    assert (record.imported.folder, record.imported.trainer, record.imported.unit) == (str(trained), "", "step")
    assert record.dataset.held_out == ("0", "1", "2", "3")
    assert (config.evaluation.num_prompts, config.stop.rule) == (4, "off")
    assert said[:4] == [
        f"3 LoRAs in {trained}:",
        "  step  50, epoch 1: dress-000001.safetensors",
        "  step 100, epoch 2: dress-000002.safetensors",
        "  step 150, epoch 3: dress.safetensors",
    ]
    assert check(run) == []


def test_training_pictures_are_told_from_references_and_likeness_between_them_is_said(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    pictures = of_pictures(tmp_path / "pictures", 3, 2)
    shutil.copy(real / "0.png", pictures / "same.png")
    (pictures / "same.txt").write_text("dress", encoding="utf-8")
    run, said = opened(trained, tmp_path, base=str(base), references=real, train_pictures=pictures)
    record = run.read_record().dataset
    assert record.held_out == tuple(f"references/{number}" for number in range(4))
    assert (record.num_images, record.pass_length) == (8, 4)
    assert any("1 reference(s) look like pictures that were trained on, such as references/0" in text for text in said)
    assert sorted(path.name for path in real.iterdir()) == sorted(f"{n}.{e}" for n in range(4) for e in ("png", "txt"))


def test_copies_among_references_are_told_and_nothing_is_said_of_holding_out(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(real, copied)
    for ending in ("png", "txt"):
        shutil.copy(copied / f"0.{ending}", copied / f"again.{ending}")
    _, said = opened(trained, tmp_path, base=str(base), references=copied)
    about = next(text for text in said if "copies of others" in text)
    assert about.startswith("1 picture(s) are copies of others, such as 0 and again: each counts as a reference")
    assert not any("held out" in text or "held-out" in text for text in said), said


@pytest.mark.parametrize(("number", "held"), [(0, "no picture"), (1, "1 picture, which says nothing about others")])
def test_too_few_references_are_refused_in_the_words_of_the_command(
    trained: Path, base: Path, real: Path, tmp_path: Path, number: int, held: str
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for file in sorted(real.iterdir())[: 2 * number]:
        shutil.copy(file, few)
    with pytest.raises(DarkroomError, match=f"--references {few} holds {held}") as refused:
        opened(trained, tmp_path, base=str(base), references=few)
    assert "--train-pictures" in refused.value.hint
    assert not (tmp_path / "runs").exists()


def test_a_reference_in_a_format_that_is_not_read_is_named_with_its_cure(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "dress.gif")
    (tmp_path / "dress.txt").write_text("a dress", "utf-8")
    with pytest.raises(DataError, match="holds no picture that can be used") as refused:
        pictures.count(tmp_path)
    (named,) = str(refused.value).splitlines()[1:]
    assert f"{tmp_path / 'dress.gif'}: .gif pictures are not read; save it as PNG" in named
    assert refused.value.hint.startswith("repair these files, and add pictures")


def test_a_folder_above_names_those_that_hold_loras(trained: Path, base: Path, real: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no LoRA") as refused:
        opened(trained.parent, tmp_path, base=str(base), references=real)
    assert refused.value.hint == f"give the folder where a trainer saves LoRAs, such as {trained}"


def test_of_a_file_its_folder_and_its_name_are_to_be_given(trained: Path, tmp_path: Path) -> None:
    for command in (opened, shown):
        with pytest.raises(ConfigError, match=r"dress\.safetensors is a file") as refused:
            command(trained / "dress.safetensors", tmp_path, base="pocket", prompts=trained / "dress.safetensors")
        assert f"`run.py evaluate {trained} --files dress.safetensors`" in f"{refused.value} {refused.value.hint}"


def test_a_pattern_that_names_no_lora_is_corrected_and_loras_are_named(trained: Path, tmp_path: Path) -> None:
    (trained / "config.yaml").touch()
    with pytest.raises(ConfigError, match=r"whose name is like foo\*, but dress-000001\.safetensors, dress") as refused:
        foreign.show_folder(trained, print, base="", output=tmp_path / "runs", pattern="foo*")
    assert "config.yaml" not in str(refused.value)
    assert refused.value.hint == "correct --files, such as --files 'dress*'"


@pytest.mark.parametrize(
    ("given", "complaint", "cure"),
    [
        ({"name": "a/b"}, "the run would be called 'a/b'", "give another --name"),
        ({"name": "-dress"}, "begins with a letter or digit", "give another --name"),
        ({"overrides": ("run.name=c/d",)}, "run.name cannot be set here", "give --name in its place"),
        ({"overrides": ("run.output_dir=there",)}, "run.output_dir cannot be set here", "give --output in its place"),
    ],
)
def test_a_name_that_no_command_takes_is_refused_before_anything_is_written(
    trained: Path, base: Path, real: Path, tmp_path: Path, given: dict[str, Any], complaint: str, cure: str
) -> None:
    for command in (opened, shown):
        with pytest.raises(ConfigError, match=complaint) as refused:
            command(trained, tmp_path, base=str(base), references=real, **given)
        assert refused.value.hint == cure
    assert not (tmp_path / "runs").exists()


def test_a_name_that_becomes_too_long_beside_another_run_is_refused(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    given = {"base": str(base), "references": real, "name": "d" * 100}
    opened(trained, tmp_path, **given)
    for command in (opened, shown):
        with pytest.raises(ConfigError, match="the run would be called 'd"):
            command(trained, tmp_path, **given, new=True)
    assert [path.name for path in (tmp_path / "runs").glob("[!.]*")] == ["d" * 100]


def test_a_missing_caption_is_named_in_the_users_folder_once(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    pictures = of_pictures(tmp_path / "pictures", 3, 2)
    (pictures / "1.txt").unlink()
    (real / "2.txt").unlink()
    given = {"base": str(base), "references": real, "train_pictures": pictures}
    for command in (opened, shown):
        with pytest.raises(ConfigError, match=r"^2 problems:") as refused:
            command(trained, tmp_path, **given)
        assert f"{real / '2.png'}: no caption file" in str(refused.value)
        assert f"{pictures / '1.png'}: no caption file" in str(refused.value)
        with pytest.raises(DataError, match=r"^1 problem\(s\)"):
            command(trained, tmp_path, **{**given, "train_pictures": real})
    assert not (tmp_path / "runs").exists()


def test_a_picture_that_is_damaged_is_named_in_the_users_folder(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    pictures = of_pictures(tmp_path / "pictures", 3, 2)
    (pictures / "1.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as refused:
        opened(trained, tmp_path, base=str(base), references=real, train_pictures=pictures)
    assert f"{pictures / '1.png'}: " in str(refused.value)
    assert ".cache" not in str(refused.value)


def test_prompts_with_training_pictures_need_no_references(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a [trigger] in the rain\n", encoding="utf-8")
    run, _ = opened(
        trained, tmp_path, base=str(base), prompts=prompts, train_pictures=real, trigger_word="robe", name="robe"
    )
    assert run.path.name == "robe"
    assert run.read_record().dataset.held_out == ()
    assert run.prompts.read_bytes() == prompts.read_bytes()


def test_prompts_alone_make_a_run_without_pictures(trained: Path, base: Path, real: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a robe in the rain\na robe at night\n", encoding="utf-8")
    run, said = opened(trained, tmp_path, base=str(base), prompts=prompts)
    assert any("no metric ranks the LoRAs" in text for text in said)
    config, record = run.read_config(), run.read_record().dataset
    assert (config.data.path, config.data.num_validation, record.num_images) == ("none", 0, 0)
    assert steps_in(run.snapshots) == {50, 100, 150}
    with pytest.raises(NotGivenError, match="trained on were not given"):
        TrainingSet(run, config).looked_at(lambda picture: picture.size)
    assert power.of_run(run, config).caution() is None
    assert check(run) == []
    again, _ = opened(trained, tmp_path, base=str(base), prompts=prompts)
    assert again == run
    (run.evaluations / "step-00000000").mkdir()
    with pytest.raises(RunFolderError, match="can never") as refused:
        opened(trained, tmp_path, base=str(base), prompts=prompts, train_pictures=real)
    assert f"--train-pictures {real} " in refused.value.hint
    assert refused.value.hint.endswith("--new`")


def test_the_same_command_takes_it_up_again_and_adds_what_is_new(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    first, _ = opened(trained, tmp_path, base=str(base), references=real)
    write(trained / "dress-step00000120.safetensors", ss_steps="120")
    again, _ = opened(trained, tmp_path, base=str(base), references=real)
    assert again == first
    assert steps_in(again.snapshots) == {50, 100, 120, 150}
    other, _ = opened(trained, tmp_path, base=str(base), references=real, new=True)
    assert other.path.name == "dress-2"
    assert opened(trained, tmp_path, base=str(base), references=real)[0] == other, "the newest goes on"
    (other.evaluations / "step-00000000").mkdir()
    changed = ("data.resolution=32", "evaluation.num_seeds=3")
    with pytest.raises(
        RunFolderError, match=r"settings:\n +evaluation\.num_seeds was 2, is 3, which can never"
    ) as refused:
        opened(trained, tmp_path, base=str(base), references=real, overrides=changed)
    assert str(refused.value).count("\n") == 1
    assert f"`python run.py evaluate {trained} --name dress-2 --output {tmp_path}/runs`" in refused.value.hint


def test_a_run_of_another_trainers_files_is_never_trained(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    run, _ = opened(trained, tmp_path, base=str(base), references=real)
    with pytest.raises(RunFolderError, match="which another program trains"):
        require_trainable(run.read_config())


def test_a_profile_brings_its_encoders_and_needs_what_was_trained_on(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    pictures = of_pictures(tmp_path / "pictures", 3, 2)
    given = {"base": str(base), "references": real, "profile": "character"}
    with pytest.raises(ConfigError, match="compares with the pictures that were trained on"):
        opened(trained, tmp_path, **given)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a dress")
    with pytest.raises(ConfigError, match="compares with the pictures that were trained on"):
        opened(trained, tmp_path, base=str(base), prompts=prompts, profile="character")
    with pytest.raises(ConfigError, match=r"--profile style needs 4 pictures .* holds 3"):
        opened(trained, tmp_path, **{**given, "profile": "style"}, train_pictures=pictures)
    with pytest.raises(ConfigError, match="--profile is 'dog', which is no profile"):
        opened(trained, tmp_path, **{**given, "profile": "dog"})
    run, _ = opened(trained, tmp_path, **given, train_pictures=pictures)
    settings = run.read_config().evaluation
    assert (settings.profile, settings.fashion_clip) == ("character", "openai/clip-vit-base-patch32")


def test_every_problem_is_told_at_once_and_nothing_is_written(trained: Path, tmp_path: Path) -> None:
    write(trained / "coat-000001.safetensors", ss_steps="50")
    with pytest.raises(ConfigError) as refused:
        opened(trained, tmp_path, prompts=tmp_path / "none.txt")
    text = str(refused.value)
    assert text.startswith("3 problems:")
    for part in (
        "several trainings: coat (1), dress (3)",
        "--base is missing; give the base model",
        "none.txt is no file",
    ):
        assert part in text
    assert not (tmp_path / "runs").exists()


def no_lora(folder: Path) -> None:
    empty(folder)
    (folder / "notes.txt").touch()


def empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def pickles(folder: Path) -> None:
    no_lora(folder)
    (folder / "dress-000001.pt").write_bytes(b"\x80\x04")


def of_sdxl(folder: Path) -> None:
    no_lora(folder)
    write(folder / "dress-000001.safetensors", module="lora_unet_input_blocks_4_1_proj_in")


def of_another_size(folder: Path) -> None:
    no_lora(folder)
    write(folder / "dress-000001.safetensors", module="lora_unet_mid_block_attentions_0_proj_out")


def damaged(folder: Path) -> None:
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes()[:-3])


def empty_file(folder: Path) -> None:
    no_lora(folder)
    (folder / "dress-000001.safetensors").touch()


def lokr(folder: Path) -> None:
    no_lora(folder)
    save_file({f"{MODULE}.lokr_w1": np.ones((2, 2), np.float32)}, folder / "dress-000001.safetensors")


FAULTS = {
    "no LoRA": (no_lora, "holds no LoRA, but notes.txt", "where a trainer saves LoRAs"),
    "empty": (empty, "dress is empty$", "--follow"),
    "pickles": (
        pickles,
        r"holds nothing but dress-000001\.pt: a pickle can run any code",
        "--save_model_as=safetensors",
    ),
    "another family": (
        of_sdxl,
        r"dress-000001\.safetensors: it is a LoRA for SDXL",
        "the base model that they are for",
    ),
    "another size": (
        of_another_size,
        "1 of its 1 modules are not in the base model",
        "the base model that they are for",
    ),
    "all damaged": (
        damaged,
        "no LoRA in .* can be read:(\n.*: it has .* bytes, its header says .*){3}",
        "copy or download",
    ),
    "an empty file": (empty_file, r"no LoRA in .* can be read:\n +dress-000001\.safetensors: it is empty", "--follow"),
    "a LoKr": (lokr, r"no LoRA in .* can be read:\n +dress-000001\.safetensors: it is a LoKr", "save plain LoRAs"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_folder_that_cannot_be_evaluated_is_refused(
    trained: Path, base: Path, real: Path, tmp_path: Path, fault: str
) -> None:
    spoil, complaint, cure = FAULTS[fault]
    spoil(trained)
    with pytest.raises(ConfigError, match=complaint) as refused:
        opened(trained, tmp_path, base=str(base), references=real)
    assert cure in refused.value.hint
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_still_being_written_waits_where_others_may_come(
    trained: Path, base: Path, real: Path, tmp_path: Path
) -> None:
    file = trained / "dress-000001.safetensors"
    whole = file.read_bytes()
    empty(trained)
    file.write_bytes(whole[:-3])
    run, said = followed(trained, tmp_path, base=str(base), references=real)
    assert steps_in(run.snapshots) == set()
    assert said == [
        f"1 LoRA in {trained}:",
        f"  epoch 1: {file.name} (waits: it has {len(whole) - 3} bytes, its header says {len(whole)})",
    ]
    of_sdxl(trained)
    with pytest.raises(ConfigError, match="no LoRA fits the base model"):
        followed(trained, tmp_path, base=str(base), references=real, new=True)


def test_a_folder_that_is_made_later_can_be_followed_once_it_is_there(base: Path, real: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as refused:
        followed(tmp_path / "later", tmp_path, base=str(base), references=real)
    assert f"`mkdir -p {tmp_path / 'later'}`" in refused.value.hint


@pytest.mark.parametrize("option", ["base", "references"])
def test_what_is_not_there_is_refused(trained: Path, base: Path, real: Path, tmp_path: Path, option: str) -> None:
    given = {"base": str(base), "references": real, option: type(real)("/nowhere/at all")}
    with pytest.raises(DarkroomError, match="/nowhere/at all"):
        opened(trained, tmp_path, **{**given, "base": str(given["base"])})
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_is_neither_a_run_nor_of_loras_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"is not a run folder, and .* is empty") as refused:
        opened(tmp_path, tmp_path)
    assert "docs/any-lora.md" in refused.value.hint


def test_a_base_that_is_no_model_is_refused(trained: Path, real: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        opened(trained, tmp_path, base=str(real), references=real)


def test_loras_of_an_edit_model_are_evaluated_on_pairs_and_on_prompts_that_name_sources(
    tiny_flow: Callable[[str], Path], pairs: Callable[[int], Path], tmp_path: Path
) -> None:
    model, shown, module = tiny_flow("flux1-kontext"), pairs(1), "transformer.transformer_blocks.0.attn.to_q"
    width = read_header(next((model / "transformer").glob("*.safetensors")))[f"{module[12:]}.weight"].shape[0]
    folder = tmp_path / "kontext"
    folder.mkdir()
    tensors = {
        f"{module}.lora_A.weight": np.ones((2, width), np.float32),
        f"{module}.lora_B.weight": np.ones((width, 2), np.float32),
    }
    save_file(tensors, folder / "red-000100.safetensors")
    overrides = ("data.resolution=32", "evaluation.scheduler=own")
    given = {"base": str(model), "references": shown, "overrides": overrides}
    run, _ = opened(folder, tmp_path, name="pairs", **given)
    assert run.read_config().data.sources == "files"
    assert set(verify(run.references).details["num_sources"].values()) == {1}
    source = next(shown.rglob("*.source-1.png"))
    (tmp_path / "mine.txt").write_text(f"make it red --ci {source}", "utf-8")
    run, _ = opened(folder, tmp_path, name="prompts", **{**given, "references": None, "prompts": tmp_path / "mine.txt"})
    assert verify(run.references).details["num_sources"] == {"prompts.txt:1": 1}
    bare = tmp_path / "bare"
    shutil.copytree(shown, bare, ignore=lambda _, files: [file for file in files if ".source-" in file])
    with pytest.raises(DarkroomError, match=r"no source .* beside it"):
        opened(folder, tmp_path, name="bare", **{**given, "references": bare})
    assert not (tmp_path / "runs" / "bare").exists()
