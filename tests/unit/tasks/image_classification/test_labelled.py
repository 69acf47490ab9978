"""Pictures and their classes: found in folders and tables, split, and refused with everything that is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from shared.config.schema import Config
from shared.data.inspection import Inspection
from shared.data.sources.pair import Pair
from shared.errors import ConfigError, DataError, ModelError
from tasks.image_classification import init, task
from tasks.image_classification.data import labelled
from tests import few_digits
from tests.conftest import create_run


def picture(file: Path, shade: int = 0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(file)
    return file


def config(path: Path, **sections: Mapping[str, object]) -> Config:
    return few_digits.config(path.parent / "runs", path, **sections)


def test_a_folder_is_a_class_and_so_is_everything_below_it(tmp_path: Path) -> None:
    for name in ("cat/a.png", "cat/more/b.jpg", "dog/a.png", "dog/a.jpg"):
        picture(tmp_path / "pets" / name)
    pairs = labelled.scan(config(tmp_path / "pets"))
    assert [(pair.id, pair.caption) for pair in pairs] == [
        ("cat/a", "cat"), ("cat/more/b", "cat"), ("dog/a.jpg", "dog"), ("dog/a.png", "dog"),
    ]  # fmt: skip


def test_folders_split_a_data_set(tmp_path: Path) -> None:
    data, shade = tmp_path / "pets", 0
    for part, count in (("train", 4), ("val", 2), ("test", 1)):
        for name in ("cat", "dog"):
            for number in range(count):
                picture(data / part / name / f"{number}.png", shade := shade + 9)
    pairs = labelled.scan(config(data))
    assert labelled.classes_of(pairs) == ("cat", "dog")
    assert init.suits(data).endswith("which would be classes: cat, dog")
    of_validation = {f"val/{name}/{number}" for name in ("cat", "dog") for number in range(2)}
    for count in (2, 4):
        evaluation = {"num_prompts": 2, "confirm_prompts": 2 if count == 4 else 0}
        of_run = {"run": {"name": f"of-{count}"}, "data": {"num_validation": count}, "evaluation": evaluation}
        run = create_run(config(data, **of_run))
        record = run.read_record().dataset
        assert len(record.held_out) == count
        assert set(record.held_out) <= of_validation
        assert record.pass_length == 8, "of train/ alone"
        assert {*record.held_out, *record.set_apart} == of_validation | {"test/cat/0", "test/dog/0"}
    with pytest.raises(DataError, match=r"num_validation is 5, and val/ holds 4 different pictures"):
        create_run(config(data, data={"num_validation": 5}, evaluation={"num_prompts": 2}))


@pytest.mark.parametrize("header", ["image,label", "label,path", "y,file name", "path,colour"])
def test_a_table_names_paths_and_classes_in_any_column(tmp_path: Path, header: str) -> None:
    first, second = header.split(",")
    order = ("{0}", "{1}") if first in ("image", "path") else ("{1}", "{0}")
    rows = [",".join(order).format(picture(tmp_path / f"{name}.png").name, name[:1]) for name in ("a1", "a2", "b1")]
    (tmp_path / "table.csv").write_text("\n".join([header, *rows]) + "\n")
    own = {"label_column": second} if second == "colour" else {}
    pairs = labelled.scan(config(tmp_path / "table.csv", image_classification=own))
    assert [(pair.id, pair.caption) for pair in pairs] == [("a1", "a"), ("a2", "a"), ("b1", "b")]


def test_everything_wrong_with_the_pictures_is_one_error_and_nothing_is_written(tmp_path: Path) -> None:
    data = tmp_path / "pets"
    for name in ("cat/a.png", "dog/b.png", "stray.png"):
        picture(data / name)
    (data / "cat" / "broken.png").write_bytes(b"no picture")
    (data / "dog" / "old.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError) as caught:
        create_run(config(data))
    told = str(caught.value)
    assert all(part in told for part in ("3 problem(s)", "stray.png: lies in no folder", "broken.png", "old.gif"))
    assert caught.value.hint.startswith("put each picture into a folder")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("path,label\na.png,\n,b\nnot.png,c", r"(?s)the class is empty.*the path is empty.*not.png is not there"),
        ("path,kind\na.png,x", "no column names the classes; it has path, kind"),
        ("path,label\na.png,x", "one class only, x"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, rows: str, problem: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "table.csv").write_text(rows + "\n")
    with pytest.raises(DataError, match=problem):
        labelled.scan(config(tmp_path / "table.csv"), Inspection())


def test_settings_that_do_not_suit_are_one_error_with_a_cure_for_each(tmp_path: Path) -> None:
    wrong = config(
        tmp_path,
        data={"num_validation": 0},
        train={"train_batch_size": 1, "gradient_checkpointing": "offload"},
        evaluation={"prompts": "p.txt"},
        image_classification={"arch": "resnet18", "pretrained": True},
    )
    with pytest.raises(ConfigError) as caught:
        task.require_suitable(wrong)
    assert len(str(caught.value).splitlines()) == len(caught.value.hint.split("; ")) == 5


@pytest.mark.parametrize(
    ("arch", "kind", "problem"),
    [
        ("resnet81", ConfigError, "did you mean resnet"),
        ("timm/resnet18", ModelError, "timm and torchvision are not installed"),
    ],
)
def test_a_network_that_is_not_to_be_had_is_refused(
    tmp_path: Path, arch: str, kind: type[Exception], problem: str
) -> None:
    with pytest.raises(kind, match=problem):
        task.require_suitable(config(tmp_path, image_classification={"arch": arch, "arch_args": {}}))


def test_every_beginning_of_the_held_out_pictures_has_the_shares_of_the_classes(tmp_path: Path) -> None:
    pairs = [Pair(f"{number:03d}", Path(), name) for number, name in enumerate("aaaaaabbbc" * 12)]
    held_out = labelled.choose_held_out(pairs, config(tmp_path, data={"num_validation": 20}))
    names = {pair.id: pair.caption for pair in pairs}
    assert Counter(names[one] for one in held_out) == {"a": 12, "b": 6, "c": 2}
    assert Counter(names[one] for one in held_out[:10]) == {"a": 6, "b": 3, "c": 1}


def test_numbers_are_classes_in_the_order_of_numbers() -> None:
    assert labelled.names_in_order({"10", "9", "1"}) == ("1", "9", "10")
    assert labelled.names_in_order({"b", "10", "a"}) == ("10", "a", "b")


def test_a_picture_with_two_classes_is_told(tmp_path: Path) -> None:
    one, same = picture(tmp_path / "cat" / "a.png"), picture(tmp_path / "dog" / "b.png")
    pairs = [Pair("cat/a", one, "cat"), Pair("dog/b", same, "dog")]
    told = labelled.contradictions(pairs, lambda path: "same")
    assert told == "1 picture(s) are there with different classes, such as cat/a as cat and dog/b as dog"
    assert labelled.contradictions(pairs, str) == ""


def test_a_saved_data_set_of_datasets_has_the_names_of_its_classes(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    files = [picture(tmp_path / f"{number}.png", shade=50 * number) for number in range(3)]
    features = datasets.Features({"img": datasets.Image(), "kind": datasets.ClassLabel(names=["hat", "shoe"])})
    cells = {"img": [{"bytes": file.read_bytes(), "path": None} for file in files], "kind": [1, 0, 1]}
    datasets.Dataset.from_dict(cells, features=features).save_to_disk(tmp_path / "saved")
    pairs = labelled.scan(config(tmp_path / "saved"))
    assert [(pair.id, pair.caption) for pair in pairs] == [("00000", "shoe"), ("00001", "hat"), ("00002", "shoe")]
    assert labelled.folder_of(config(tmp_path / "saved")) == pairs[0].image.parent
