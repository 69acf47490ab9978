"""Pictures of the class: recognised, kept out of the split, without the trigger word."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from shared.config.loading import parse_config
from shared.config.schema import Config
from shared.data import dataset
from shared.data.sources import Pair
from shared.data.split import held_out
from shared.data.split.regularization import recognise
from shared.data.survey import survey
from shared.errors import DataError
from shared.files.publication import sha256


def add(folder: Path, *names: str, caption: str | None = None) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (len(name), sum(name.encode()) % 256, 9)).save(path)
        if caption is not None:
            path.with_suffix(".txt").write_text(caption)


def config_of(path: Path, **data: object) -> Config:
    return parse_config({"run": {"output_dir": str(path.parent / "runs")}, "data": {"path": str(path), **data}})


def is_marked(*ids: str) -> list[bool]:
    return [pair.is_regularization for pair in recognise([Pair(name, Path(f"{name}.png"), "x") for name in ids])]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder as kohya's users have it."""
    add(tmp_path / "project", *(f"img/10_sks dress/{number}.png" for number in range(6)), caption="a red dress")
    add(tmp_path / "project", *(f"reg/1_dress/{number}.png" for number in range(20)))
    return tmp_path / "project"


@pytest.mark.parametrize(
    "name",
    ["reg/1_dress/a", "Reg/1_dress/a", "regularization/dress/a", "regularisation/a", "reg_images/a",
     "regularization images/1_x/a", "class_images/a", "class/1_dress/a", "dress/reg/1_dress/a"],
)  # fmt: skip
def test_folders_named_for_regularisation_are_recognised(name: str) -> None:
    assert is_marked(name, "img/10_sks dress/a") == [True, False]


@pytest.mark.parametrize("name", ["class/a", "regular/a", "region/a", "img/reg", "10_reg/a", "first class/1_a/a"])
def test_folders_that_may_hold_the_subject_are_not(name: str) -> None:
    assert is_marked(name, "img/10_sks dress/a") == [False, False]


def test_where_every_folder_is_named_so_none_is_meant() -> None:
    assert is_marked("reg/1_dress/a", "reg/1_dress/b") == [False, False]


def test_pictures_of_the_class_are_never_held_out_nor_trained_as_the_subject(project: Path) -> None:
    pairs = dataset.scan(config_of(project))
    chosen = held_out.choose(pairs, 3, seed=0)
    assert all(pair_id.startswith("img/") for pair_id in chosen)
    training = dataset.training_pairs(pairs, chosen, None, 0)
    assert {pair.id.partition("/")[0] for pair in training} == {"img"}
    assert len(dataset.regularization_pairs(pairs, chosen)) == 20


def test_the_trigger_word_stands_before_captions_of_the_subject_only(project: Path) -> None:
    pairs = dataset.scan(config_of(project, trigger_word="sks"))
    assert {pair.caption for pair in pairs} == {"sks, a red dress", "dress"}


def test_a_copy_of_a_held_out_picture_is_not_trained_on_as_one_of_the_class(project: Path) -> None:
    (project / "reg" / "1_dress" / "0.png").write_bytes((project / "img" / "10_sks dress" / "2.png").read_bytes())
    pairs = dataset.scan(config_of(project))
    assert "reg/1_dress/0" not in {pair.id for pair in dataset.regularization_pairs(pairs, ["img/10_sks dress/2"])}


def test_a_folder_of_its_own_can_be_named(project: Path, tmp_path: Path) -> None:
    (project / "reg").rename(tmp_path / "dresses")
    pairs = dataset.scan(config_of(project, regularization_path=str(tmp_path / "dresses")))
    assert next(pair.id for pair in pairs if pair.is_regularization) == "regularization/1_dress/0"
    assert sum(pair.is_regularization for pair in pairs) == 20
    (project / "img").rename(tmp_path / "dresses" / "img")
    with pytest.raises(DataError, match=r"data\.regularization_path .* holds data\.path"):
        dataset.scan(config_of(tmp_path / "dresses" / "img", regularization_path=str(tmp_path / "dresses")))


def test_a_folder_inside_the_data_set_can_be_named(project: Path) -> None:
    (project / "reg").rename(project / "others")
    assert not any(pair.is_regularization for pair in dataset.scan(config_of(project)))
    pairs = dataset.scan(config_of(project, regularization_path=str(project / "others")))
    assert {pair.id.partition("/")[0] for pair in pairs if pair.is_regularization} == {"others"}


def test_every_folder_can_be_trained_on_alike(project: Path) -> None:
    pairs = dataset.scan(config_of(project, regularization_path="none", trigger_word="sks"))
    assert not any(pair.is_regularization for pair in pairs)
    assert {pair.caption for pair in pairs} == {"sks, a red dress", "sks, dress"}


def test_a_run_made_before_the_distinction_goes_on_as_it_began(project: Path) -> None:
    config = config_of(project, trigger_word="sks")
    then = dataset.scan(config_of(project, trigger_word="sks", regularization_path="none"))
    found = dataset.scan_again(config, dataset.fingerprint(then), sha256)
    assert found == (then, True)
    now = dataset.fingerprint(dataset.scan(config))
    assert now != dataset.fingerprint(then)
    assert any(pair.is_regularization for pair in dataset.scan_again(config, now, sha256)[0])


def test_init_says_what_it_recognised(project: Path) -> None:
    seen = survey(project)
    assert (seen.num_images, seen.num_regularization) == (6, 20)
    add(project, "img/2_close/a.png", caption="close")
    lines = survey(project).sentences()
    assert lines[0] == "7 pictures, 7 captions"
    assert lines[1].startswith("20 further pictures for regularisation, in reg/1_dress: ")
    assert lines[2].endswith("img/10_sks dress (6, 60 with repeats), img/2_close (1, 2 with repeats)")
