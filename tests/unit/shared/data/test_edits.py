"""Pairs for an edit model: sources are found beside their pictures and listed where one is missing; they are part of a
run's identity, and pairs of one source stay together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from shared.config.loading import parse_config
from shared.data import dataset
from shared.data.buckets import Framing, frame_source, have_same_shape
from shared.data.inspection import Inspection
from shared.data.recorded import recorded_pairs
from shared.data.sources import Pair, ScanReport, find_pictures
from shared.data.split.groups import groups
from shared.data.survey import survey
from shared.errors import DataError
from shared.files.publication import sha256


def add(folder: Path, name: str, size: tuple[int, int] = (16, 24), caption: str | None = None) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (len(str(name)) * 7 % 256, sum(map(ord, name)) % 256, 90)).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)
    return path


def add_pair(folder: Path, name: str, *sources: str) -> None:
    add(folder, f"{name}.png", caption="make it red")
    for source in sources or (f"{name}.source.png",):
        add(folder, source)


def scan(path: Path, sources: str = "files", say: list[str] | None = None) -> list[Pair]:
    tree = {"run": {"output_dir": str(path.parent / "runs")}, "data": {"path": str(path), "sources": sources}}
    return dataset.scan(parse_config(tree), Inspection(), (say if say is not None else []).append)


def names(pairs: list[Pair]) -> dict[str, list[str]]:
    return {pair.id: [source.name for source in pair.sources] for pair in pairs}


def test_sources_belong_to_their_picture_in_order_and_are_none_themselves(tmp_path: Path) -> None:
    data = tmp_path / "data"
    add_pair(data, "a")
    add_pair(data, "sub/b", "sub/b.source-2.png", "sub/b.SOURCE-10.jpg", "sub/b.source-1.webp")
    expected = {"a": ["a.source.png"], "sub/b": ["b.source-1.webp", "b.source-2.png", "b.SOURCE-10.jpg"]}
    assert names(scan(data)) == expected
    assert [path.name for path in find_pictures(data, ScanReport())] == ["a.png", "b.png"]
    said: list[str] = []
    assert names(scan(data, "off", said)) == {"a": [], "sub/b": []}
    assert "2 picture(s) have sources" in said[0]
    assert "data.sources = 'files'" in said[0]
    found = survey(data)
    assert found.num_sources == 3
    assert "pairs for an edit model: pictures have sources, up to 3 each" in " ".join(found.sentences())


def test_sources_of_pictures_that_a_table_names_are_found(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("a.png", "a.source.png", "b.png", "b.source.png"):
        add(data, name)
    (data / "table.csv").write_text("file_name,text\na.png,make it red\nb.png,make it blue\n")
    assert names(scan(data / "table.csv")) == {"a": ["a.source.png"], "b": ["b.source.png"]}


TABLES = {
    "metadata.jsonl": '{"file_name": "a.png", "text": "make it red", "source": "before/a.png"}\n'
    '{"file_name": "b.png", "text": "make it blue", "source": ["before/b.png", "hat.png"]}\n',
    "metadata.csv": "file_name,text,control_path_0,control_path_1\n"
    "a.png,make it red,before/a.png,\nb.png,make it blue,before/b.png,hat.png\n",
    "edits.json": '[{"input_image": "before/a.png", "edit_prompt": "make it red", "edited_image": "a.png"}, '
    '{"input_image": ["before/b.png", "hat.png"], "edit_prompt": "make it blue", "edited_image": "b.png"}]',
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_names_sources_in_a_column_or_several(tmp_path: Path, name: str) -> None:
    data, said = tmp_path / "data", list[str]()
    for picture in ("a.png", "b.png", "before/a.png", "before/b.png", "hat.png"):
        add(data, picture)
    (data / name).write_text(TABLES[name])
    expected = {"a": ["a.png"], "b": ["b.png", "hat.png"]}
    for place in (data, data / name):
        pairs = scan(place)
        assert names(pairs) == expected
        assert [pair.sources[0].parent.name for pair in pairs] == ["before", "before"]
        assert [pair.caption for pair in pairs] == ["make it red", "make it blue"]
    assert names(scan(data, "off", said)) == {"a": [], "b": []}
    assert any("2 picture(s) have sources" in text for text in said)
    assert survey(data).num_sources == 2


def test_sources_that_a_table_names_in_vain_are_one_error_and_none_where_they_are_not_used(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for picture in ("a.png", "b.png", "c.png", "here.png"):
        add(data, picture)
    rows = "a.png,make it red,gone.png\nb.png,make it blue,\nc.png,make it green,here.png\n"
    (data / "metadata.csv").write_text(f"file_name,text,source\n{rows}")
    with pytest.raises(DataError, match=r"2 problem\(s\)") as refused:
        scan(data)
    assert f"{data / 'metadata.csv'}:2: the source gone.png: no such picture" in str(refused.value)
    assert "b.png: no source b.source.png beside it" in str(refused.value)
    assert "column `source`" in refused.value.hint
    assert names(scan(data, "off")) == {"a": [], "b": [], "c": []}
    assert survey(data).problems


def test_a_column_that_is_named_like_one_of_sources_and_has_no_pictures_is_none(tmp_path: Path) -> None:
    data = tmp_path / "data"
    add(data, "a.png")
    (data / "metadata.csv").write_text("file_name,text,source\na.png,a red dress,flickr\n")
    assert names(scan(data, "off")) == {"a": []}
    (data / "metadata.csv").rename(data / "list.csv")
    (data / "list.csv").write_text("source,text\na.png,a red dress\n")
    assert names(scan(data / "list.csv", "off")) == {"a": []}


def test_a_captioned_picture_of_such_a_name_is_a_picture(tmp_path: Path) -> None:
    add(tmp_path / "data", "water.source.png", caption="a spring")
    add(tmp_path / "data", "water.png", caption="water")
    assert names(scan(tmp_path / "data", "off")) == {"water": [], "water.source": []}


def test_everything_that_is_wrong_with_sources_is_one_error(tmp_path: Path) -> None:
    data = tmp_path / "data"
    add_pair(data, "good")
    add_pair(data, "twice", "twice.source.png", "twice.source.jpg")
    add(data, "bare.png", caption="make it red")
    add(data, "gone.source.png")
    add_pair(data, "torn")
    (data / "torn.source.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"4 problem\(s\) in the data set") as refused:
        scan(data)
    for problem in (
        "bare.png: no source bare.source.png beside it",
        "gone.source.png: a source without its picture",
        "twice.source.png: twice.source.jpg is this source of its picture already",
        "torn.source.png: not a PNG",
    ):
        assert problem in str(refused.value)
    assert "<name>.source.png" in refused.value.hint


def test_another_shape_than_the_source_is_said(tmp_path: Path) -> None:
    data, said = tmp_path / "data", list[str]()
    add_pair(data, "a")
    add(data, "b.png", caption="make it red")
    add(data, "b.source.png", (24, 24))
    scan(data, say=said)
    assert [text for text in said if text.startswith("1 picture(s) have another shape than their source")]
    assert have_same_shape((1000, 750), (512, 384))
    assert not have_same_shape((1000, 750), (512, 400))


def test_a_changed_source_is_another_data_set_and_is_named_in_the_inventory(tmp_path: Path) -> None:
    data = tmp_path / "data"
    add_pair(data, "a")
    pairs = scan(data)
    before = dataset.fingerprint(pairs)
    inventory = dataset.inventory(pairs, sha256, data)
    tree = {"run": {"output_dir": str(tmp_path)}, "data": {"path": str(data)}}
    recorded = recorded_pairs(inventory, parse_config(tree))
    assert recorded
    assert recorded.pairs == pairs
    assert recorded.are_unchanged(recorded.pairs, sha256)
    Image.new("RGB", (16, 24), "blue").save(data / "a.source.png")
    assert dataset.fingerprint(pairs) != before
    assert not recorded.are_unchanged(recorded.pairs, sha256)
    assert json.loads(inventory.model_dump_json())["source_paths"] == {"a": ["a.source.png"]}


def test_pairs_that_are_made_from_one_source_are_on_one_side_of_the_split(tmp_path: Path) -> None:
    source, other = add(tmp_path, "s.png"), add(tmp_path, "other.png")
    pairs = [
        Pair(name, tmp_path / f"{name}.png", "", sources=sources)
        for name, sources in (("a", (source,)), ("b", (other,)), ("c", (source,)), ("d", (source, other)))
    ]
    together = groups(pairs)
    assert together.keys() == {"a", "c"}
    assert together["a"] == together["c"]


def test_a_source_goes_where_its_picture_goes_or_to_the_bucket_of_its_own_shape() -> None:
    among = [(512, 512), (384, 640), (640, 384)]
    target = Framing((1000, 1000), (384, 640))  # joined to a neighbour
    assert frame_source((500, 500), target, among).target == (384, 640)
    assert frame_source((600, 360), target, among).target == (640, 384)
    assert frame_source((500, 500), target, [(256, 256), (192, 320)]).target == (256, 256)
