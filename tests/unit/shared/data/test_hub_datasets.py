"""Data sets of the `datasets` library become files once, and need it no more."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shared.config.loading import parse_config
from shared.data import dataset, hub_datasets
from shared.data import sources as sources_at
from shared.data.sources import ScanReport
from shared.errors import DataError
from shared.files.publication import verify
from tests.unit.shared.data import test_edits as edits
from tests.unit.shared.data.test_dataset import scan

datasets = pytest.importorskip("datasets")

TEXTS = ["a red dress", "ein Kleid, grün", "a hat"]


def encoded(kind: str, side: int) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 60).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


BYTES = [encoded("JPEG", 24), encoded("PNG", 25), encoded("WEBP", 26)]


def make(picture: str = "image", caption: str = "text", **more: list[Any]) -> Any:
    features = {picture: datasets.Image(), caption: datasets.Value("string")}
    features |= {
        name: datasets.Value("string" if isinstance(values[0], str) else "int64") for name, values in more.items()
    }
    cells = [{"bytes": data, "path": None} for data in BYTES]
    return datasets.Dataset.from_dict({picture: cells, caption: TEXTS, **more}, features=datasets.Features(features))


def save(tmp_path: Path, dataset: Any) -> Path:
    dataset.save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def hide_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)


def test_a_saved_data_set_keeps_every_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, make(number=[1, 2, 3]))
    pairs = scan(path, decode=True)
    assert [(pair.id, pair.caption) for pair in pairs] == list(zip(["00000", "00001", "00002"], TEXTS, strict=True))
    assert [pair.image.read_bytes() for pair in pairs] == BYTES
    assert [pair.image.suffix for pair in pairs] == [".jpg", ".png", ".webp"]
    verify(pairs[0].image.parent)
    hide_library(monkeypatch)
    assert scan(path) == pairs


def test_a_data_set_saved_again_with_other_content_is_read_again(tmp_path: Path) -> None:
    path = save(tmp_path, make())
    before = scan(path)
    make().select([0, 1]).save_to_disk(tmp_path / "saved")
    assert len(scan(path)) == 2
    assert all(pair.image.is_file() for pair in before)


def test_the_train_split_is_taken(tmp_path: Path) -> None:
    whole = make()
    path = save(tmp_path, datasets.DatasetDict({"test": whole.select([0]), "train": whole.select([1, 2])}))
    assert [pair.caption for pair in scan(path)] == TEXTS[1:]


def test_several_splits_without_train_are_refused_by_name(tmp_path: Path) -> None:
    path = save(tmp_path, datasets.DatasetDict({"left": make(), "right": make()}))
    with pytest.raises(DataError, match="no split 'train'; it has left, right"):
        scan(path)


def test_a_hub_data_set_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def load_dataset(name: str) -> Any:
        asked.append(name)
        return datasets.DatasetDict({"train": make("photo", "caption", title=["x", "y", "z"])})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    config: dict[str, object] = {"path": "hub:someone/dresses", "cache_dir": str(tmp_path / "cache")}
    first = scan(tmp_path / "unused", **config)
    assert [pair.caption for pair in first] == TEXTS
    assert scan(tmp_path / "unused", **config) == first
    assert asked == ["someone/dresses"]
    assert [path.name.rpartition("-")[0] for path in (tmp_path / "cache" / "datasets").iterdir()] == [
        "someone--dresses"
    ]


def test_a_data_set_that_cannot_be_had_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot load hub:no-one/nothing") as caught:
        scan(tmp_path / "x", path="hub:no-one/nothing")
    assert caught.value.hint
    assert not (tmp_path / "runs").exists()


def test_without_the_library_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, make())
    hide_library(monkeypatch)
    with pytest.raises(DataError, match="not installed") as caught:
        scan(path)
    assert "pip install datasets" in caught.value.hint


def test_columns_that_cannot_be_told_are_named(tmp_path: Path) -> None:
    path = save(tmp_path, make("photo", "left", right=["x", "y", "z"]))
    with pytest.raises(
        DataError, match=r"cannot tell the caption column; its columns are photo \(PIL.*left \(string\)"
    ):
        scan(path)


def test_no_half_written_data_set_is_ever_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, make())

    def fail(*_: object) -> str:
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr("shared.data.hub_datasets._ending", fail)
        with pytest.raises(OSError, match="disk full"):
            scan(path)
    assert not list((tmp_path / "runs" / ".cache" / "datasets").iterdir())
    assert len(scan(path)) == 3


def test_an_empty_cell_is_named_by_the_check_of_the_files(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    cells: dict[str, list[Any]] = {"image": [{"bytes": BYTES[0], "path": None}, None], "text": ["a", None]}
    path = save(tmp_path, datasets.Dataset.from_dict(cells, features=features))
    with pytest.raises(DataError) as caught:
        scan(path, decode=True)
    assert "00001.png: the caption is empty" in str(caught.value)
    assert "00001.png: not a PNG" in str(caught.value)


def test_the_caption_is_told_from_paths_and_numbers(tmp_path: Path) -> None:
    names, links = [f"{n}.png" for n in "xyz"], [f"https://x.org/{n}" for n in "xyz"]
    path = save(tmp_path, make("photo", "words", file=names, link=links, number=["1", "2", "3"]))
    assert [pair.caption for pair in scan(path)] == TEXTS


@pytest.mark.parametrize("several", [False, True])
def test_columns_of_sources_lie_beside_their_pictures(tmp_path: Path, several: bool) -> None:
    cells = [{"bytes": data, "path": None} for data in BYTES]
    kind = datasets.List(datasets.Image()) if several else datasets.Image()
    sources: list[Any] = [[cells[1], cells[2]], [cells[0]], []] if several else [cells[1], cells[0], None]
    features = {"edited_image": datasets.Image(), "input_image": kind, "edit_prompt": datasets.Value("string")}
    columns = {"edited_image": cells, "input_image": sources, "edit_prompt": TEXTS}
    path = save(tmp_path, datasets.Dataset.from_dict(columns, features=datasets.Features(features)))
    with pytest.raises(DataError, match=r"00002.webp: no source 00002.source.webp beside it"):
        edits.scan(path)
    tree = {"run": {"output_dir": str(tmp_path / "runs")}, "data": {"path": str(path), "sources": "off"}}
    folder = hub_datasets.on_disk(str(path), dataset.cache_dir(parse_config(tree)))
    found = sources_at.read(folder, ScanReport())
    assert [pair.image.read_bytes() for pair in found] == BYTES
    expected = [[BYTES[1], BYTES[2]] if several else [BYTES[1]], [BYTES[0]], []]
    assert [[source.read_bytes() for source in pair.sources] for pair in found] == expected
    assert [pair.caption for pair in found] == TEXTS
