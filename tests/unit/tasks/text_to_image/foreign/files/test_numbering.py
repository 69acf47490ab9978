"""The LoRAs of a folder get the steps that a person would give them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shared.errors import ConfigError
from tests.unit.tasks.text_to_image.foreign.conftest import age, numbered, steps, write


def test_kohyas_epochs_become_the_steps_that_their_headers_tell(tmp_path: Path) -> None:
    for epoch in (1, 2):
        write(tmp_path / f"dress-{epoch:06d}.safetensors", ss_steps=str(40 * epoch), ss_epoch=str(epoch))
    write(tmp_path / "dress.safetensors", ss_steps="120", ss_epoch="3")
    assert steps(tmp_path) == {40: "dress-000001.safetensors", 80: "dress-000002.safetensors", 120: "dress.safetensors"}
    assert numbered(tmp_path).unit == "step"


def test_epochs_are_the_numbers_where_no_file_tells_its_steps_and_the_last_comes_one_interval_later(
    tmp_path: Path,
) -> None:
    for value, name in enumerate(("dress-000002", "dress-000004", "dress")):
        write(tmp_path / f"{name}.safetensors", value)
    assert steps(tmp_path) == {2: "dress-000002.safetensors", 4: "dress-000004.safetensors", 6: "dress.safetensors"}
    found = numbered(tmp_path)
    assert found.unit == "epoch"
    assert found.said == (
        "no file tells its step: the numbers are epochs",
        "dress.safetensors has no number: it is taken as the last one, as epoch 6",
    )


def test_an_epoch_is_counted_in_steps_where_one_header_tells_how_many_it_has(tmp_path: Path) -> None:
    write(tmp_path / "dress-000001.safetensors")
    write(tmp_path / "dress-000002.safetensors", ss_steps="100", ss_epoch="2")
    found = numbered(tmp_path)
    assert ([*found.loras], found.guessed) == ([50, 100], {50})
    assert found.said == (
        "no name or header tells the steps of dress-000001.safetensors (step 50): a guess, of 50 steps an epoch",
    )


def test_checkpoint_folders_and_onetrainers_saves_are_found_and_a_trainers_state_is_not(tmp_path: Path) -> None:
    write(tmp_path / "checkpoint-500" / "pytorch_lora_weights.safetensors", value=5)
    (tmp_path / "checkpoint-500" / "optimizer.bin").write_bytes(b"\x80\x04")
    write(tmp_path / "dress-000002-state" / "pytorch_lora_weights.safetensors")
    write(tmp_path / "save" / "2026-01-31_12-00-00-save-700-4-20.safetensors", value=7)
    write(tmp_path / "pytorch_lora_weights.safetensors")
    (tmp_path / "samples").mkdir()
    assert steps(tmp_path) == {
        500: "checkpoint-500/pytorch_lora_weights.safetensors",
        700: "save/2026-01-31_12-00-00-save-700-4-20.safetensors",
        1200: "pytorch_lora_weights.safetensors",
    }


def test_of_two_of_one_step_the_last_of_the_training_is_taken_and_of_copies_one(tmp_path: Path) -> None:
    write(tmp_path / "dress-step00000500.safetensors", rank=4, ss_steps="500")
    write(tmp_path / "dress.safetensors", ss_steps="500")
    write(tmp_path / "dress-step00000400.safetensors", ss_steps="400")
    shutil.copy2(tmp_path / "dress-step00000400.safetensors", tmp_path / "dress_000000400.safetensors")
    assert steps(tmp_path) == {400: "dress-step00000400.safetensors", 500: "dress.safetensors"}
    copied, same_step = numbered(tmp_path).said
    assert copied.startswith("dress_000000400.safetensors is left out: it is a copy of dress-step00000400.safetensors")
    assert "dress.safetensors, which is the last one, is of step 500 too" in same_step


@pytest.mark.parametrize(
    "names", [("dress-000001", "coat-000001"), ("dress", "coat"), ("checkpoint-100", "coat", "hat")]
)
def test_loras_of_several_trainings_are_refused_with_the_way_to_choose(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        write(tmp_path / f"{name}.safetensors")
    with pytest.raises(ConfigError, match="several trainings: coat") as refused:
        numbered(tmp_path)
    assert "--files 'coat*'" in refused.value.hint
    assert len(numbered(tmp_path, "coat*").loras) == 1


def test_epochs_that_cannot_be_compared_with_steps_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "dress-000001.safetensors")
    write(tmp_path / "dress-step00000500.safetensors")
    with pytest.raises(ConfigError, match=r"dress-000001\.safetensors: an epoch's number"):
        numbered(tmp_path)


def test_what_has_no_number_and_another_name_is_left_out_and_said(tmp_path: Path) -> None:
    for name in ("dress-000001", "coat", "hat"):
        write(tmp_path / f"{name}.safetensors")
    found = numbered(tmp_path)
    assert [one.label for one in found.loras.values()] == ["dress-000001.safetensors"]
    assert "coat.safetensors is left out: it is not called dress, and has no number" in found.said


def test_a_damaged_file_takes_no_step_from_a_whole_one(tmp_path: Path) -> None:
    (tmp_path / "dress-step00000100.safetensors").write_bytes(b"torn")
    write(tmp_path / "dress_000000100.safetensors")
    found = numbered(tmp_path)
    assert [one.label for one in found.loras.values()] == ["dress_000000100.safetensors"]
    (said,) = found.said
    assert said.endswith("left out: dress_000000100.safetensors, which can be read, is of step 100 too")


@pytest.mark.parametrize("name", ["final", "dress-final", "dress_last", "dress"])
def test_the_last_one_belongs_to_its_training_however_it_is_called(tmp_path: Path, name: str) -> None:
    for number in (1, 2):
        write(tmp_path / f"dress-{number:06d}.safetensors", value=number)
    write(tmp_path / f"{name}.safetensors", value=3)
    found = numbered(tmp_path)
    assert [*found.loras] == [1, 2, 3]
    assert found.guessed == {3}


def test_of_several_last_ones_the_newest_counts(tmp_path: Path) -> None:
    write(tmp_path / "dress-000001.safetensors", value=1)
    age(write(tmp_path / "dress.safetensors", value=2))
    write(tmp_path / "final.safetensors", value=3)
    found = numbered(tmp_path)
    assert [one.label for one in found.loras.values()] == ["dress-000001.safetensors", "final.safetensors"]
    assert "dress.safetensors is left out: another file without a number is newer" in found.said


def test_the_same_bytes_count_once_whichever_comes_later(tmp_path: Path) -> None:
    for step in (300, 600):
        write(tmp_path / f"checkpoint-{step}" / "pytorch_lora_weights.safetensors", value=step)
    last = "checkpoint-600/pytorch_lora_weights.safetensors"
    shutil.copy(tmp_path / last, tmp_path / "pytorch_lora_weights.safetensors")
    (tmp_path / "checkpoint-900").mkdir()
    shutil.copy(tmp_path / last, tmp_path / "checkpoint-900")
    found = numbered(tmp_path)
    assert [*found.loras] == [300, 600]
    assert found.said == tuple(
        f"{label} is left out: it has the same bytes as {last}"
        for label in ("checkpoint-900/pytorch_lora_weights.safetensors", "pytorch_lora_weights.safetensors")
    )
    write(tmp_path / "pytorch_lora_weights.safetensors", value=7)
    assert [*numbered(tmp_path).loras] == [300, 600, 900]


def test_the_way_to_choose_names_the_largest_training(tmp_path: Path) -> None:
    for name in ("a[1]-000001", "my dress-000001", "my dress-000002"):
        write(tmp_path / f"{name}.safetensors")
    with pytest.raises(ConfigError, match=r"several trainings: a\[1\] \(1\), my dress \(2\)") as refused:
        numbered(tmp_path)
    assert refused.value.hint.endswith("--files 'my dress*'")


SERIES = {
    ("dress-25", "dress-50", "dress-100"): [25, 50, 100],
    ("dress_5", "dress_10", "dress_15", "dress"): [5, 10, 15, 20],
    ("500", "1000", "1500"): [500, 1000, 1500],
    ("dress (5)", "dress (10)"): [5, 10],
    ("dress_v2_5_fp16", "dress_v2_10_fp16", "dress_v2_fp16"): [5, 10, 15],
    ("dress-25",): [25],
    ("dress-25", "dress"): [25, 50],
}


@pytest.mark.parametrize("names", SERIES)
def test_the_number_in_which_names_differ_is_the_number(tmp_path: Path, names: tuple[str, ...]) -> None:
    for value, name in enumerate(names):
        write(tmp_path / f"{name}.safetensors", value)
    found = numbered(tmp_path)
    assert [*found.loras] == SERIES[names]
    assert found.unit == "step"


def test_numbers_in_kohyas_form_stay_epochs_in_a_series_and_headers_tell_their_steps(tmp_path: Path) -> None:
    for epoch in (1, 2):
        write(tmp_path / f"dress-{epoch:06d}-lora.safetensors", epoch)
    assert numbered(tmp_path).unit == "epoch"
    for epoch in (1, 2):
        write(tmp_path / f"dress-{epoch:06d}-lora.safetensors", epoch, ss_steps=str(80 * epoch))
    assert [*steps(tmp_path)] == [80, 160]


@pytest.mark.parametrize(
    "names", [("v1", "v2"), ("dress-v1", "dress-v2"), ("dress-rank-8", "dress-rank-16"), ("early", "late")]
)
def test_versions_and_settings_are_no_numbers_and_headers_tell_where_they_are_of_one_training(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    for value, name in enumerate(names):
        write(tmp_path / f"{name}.safetensors", value)
    with pytest.raises(ConfigError, match="several trainings") as refused:
        numbered(tmp_path)
    assert refused.value.hint.endswith("let the names of one training end in its steps, as dress-25 and dress-50 do")
    for value, name in enumerate(names):
        write(tmp_path / f"{name}.safetensors", value, ss_steps=str(100 + 100 * value), ss_session_id="7")
    assert [*steps(tmp_path)] == [100, 200]
    for value, name in enumerate(names):
        write(tmp_path / f"{name}.safetensors", value, ss_steps=str(100 + 100 * value), ss_session_id=str(value))
    with pytest.raises(ConfigError, match="several trainings"):
        numbered(tmp_path)


@pytest.mark.parametrize(
    "names", [("dress-2026-01-30", "dress-2026-01-31"), ("a-1-25", "a-2-50"), ("dress-25", "coat-25")]
)
def test_dates_and_names_that_differ_in_more_than_a_number_are_no_series(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    for value, name in enumerate(names):
        write(tmp_path / f"{name}.safetensors", value)
    with pytest.raises(ConfigError, match="several trainings"):
        numbered(tmp_path)


def test_what_was_saved_before_the_first_step_is_left_out_and_said(tmp_path: Path) -> None:
    for value, name in enumerate(("dress-step0", "dress_000000000", "dress-step00000100")):
        write(tmp_path / f"{name}.safetensors", value)
    found = numbered(tmp_path)
    assert [*found.loras] == [100]
    assert "dress-step0.safetensors is left out: step 0 is the base model, without a LoRA" in found.said
