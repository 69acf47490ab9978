"""What the evaluator needs of the training pictures stands in the run folder: the data set is not read again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.data import dataset
from shared.errors import ConfigError, DataError
from shared.files.digests import Digests
from shared.run_folder.records.inventory import Inventory
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.descriptors.gradients import describe
from tasks.text_to_image.evaluation import references
from tasks.text_to_image.evaluation.training_set import TrainingSet
from tests.conftest import RunMaker


@pytest.fixture
def run(make_paper_run: RunMaker, pictures: Path, tmp_path: Path) -> RunDir:
    """Of a data set of its own, so that it may be changed."""
    return make_paper_run(data={"path": str(shutil.copytree(pictures, tmp_path / "pictures"))})


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows with each reading of the data set."""
    counted, scan = list[object](), dataset.scan
    monkeypatch.setattr(dataset, "scan", lambda *given: counted.append(given) or scan(*given))
    return counted


def vectors(run: RunDir) -> np.ndarray:
    return TrainingSet(run, run.read_config()).vectors(describe)


def forget_paths(run: RunDir) -> None:
    """As older versions wrote it."""
    inventory = run.read_inventory()
    assert inventory
    Inventory(pairs=inventory.pairs).write(run.dataset)


def a_training_picture(run: RunDir) -> Path:
    held_out = run.read_record().dataset.held_out
    pairs = dataset.training_pairs(dataset.scan(run.read_config()), held_out, None, 0)
    return pairs[0].image


def test_training_pictures_are_found_without_reading_the_data_set(run: RunDir, scans: list[object]) -> None:
    (Path(run.read_config().data.path) / "new.png").write_bytes(b"no picture")
    found = vectors(run)
    assert scans == []
    (Path(run.read_config().data.path) / "new.png").unlink()
    forget_paths(run)
    assert np.array_equal(vectors(run), found)
    assert len(scans) == 1, "an older run"


def test_what_looks_like_a_held_out_picture_or_is_of_its_group_is_not_trained_on(
    run: RunDir, make_paper_run: RunMaker
) -> None:
    folder, (first, second, _) = Path(run.read_config().data.path), run.read_record().dataset.held_out
    with Image.open(folder / f"{first}.png") as picture:
        picture.resize((96, 96)).save(folder / "zz-alike.jpg", quality=80)
    shutil.copy(folder / f"{first}.txt", folder / "zz-alike.txt")
    again = make_paper_run("again", data={"path": str(folder)})
    assert again.read_record().dataset.held_out == run.read_record().dataset.held_out
    assert again.read_record().dataset.set_apart == ("zz-alike",)
    assert len(vectors(again)) == len(vectors(run)) == 9
    (folder / "zz-alike.jpg").unlink()
    (folder / "zz-alike.txt").unlink()
    number = second.rpartition("-")[2][-1]
    grouped = make_paper_run("grouped", data={"path": str(folder), "group_key": f"{number}$"}).read_record().dataset
    alike = {pair.id for pair in dataset.scan(run.read_config()) if pair.id.endswith(number)}
    assert len(alike & set(grouped.held_out)) <= 1
    assert set(grouped.set_apart) in (alike - set(grouped.held_out), set())


def test_a_group_key_that_is_no_expression_is_an_error(make_paper_run: RunMaker) -> None:
    with pytest.raises(ConfigError, match=r"data\.group_key .*is no regular expression"):
        make_paper_run(data={"group_key": "(["})


def test_pictures_that_were_moved_within_the_data_set_are_found_by_their_content(
    run: RunDir, scans: list[object]
) -> None:
    before = vectors(run)
    image = a_training_picture(run)
    scans.clear()
    for path in (image, image.with_suffix(".txt")):
        path.rename(path.with_stem("zz"))
    assert np.array_equal(np.sort(vectors(run), axis=0), np.sort(before, axis=0))
    assert scans


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["gone", "changed"])
def test_a_training_picture_that_is_not_what_it_was_is_named(run: RunDir, change: Callable[[Path], object]) -> None:
    change(a_training_picture(run))
    with pytest.raises(DataError):
        vectors(run)


def test_references_that_have_to_be_made_are_made_from_the_record(run: RunDir, scans: list[object]) -> None:
    shutil.rmtree(run.references)
    made = references.load(run, run.read_config(), 8)
    assert list(made.prompts) == list(run.read_record().dataset.held_out[:2])
    assert scans == []


def test_digests_of_a_large_data_set_are_not_computed_again(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the pictures that are looked at are digested."""
    digested = set[Path]()
    original = Digests.__call__
    monkeypatch.setattr(Digests, "__call__", lambda self, path: digested.add(path) or original(self, path))
    monkeypatch.setattr("tasks.text_to_image.evaluation.training_set.MAX_PICTURES", 3)
    assert len(vectors(run)) == len(digested) <= 3
