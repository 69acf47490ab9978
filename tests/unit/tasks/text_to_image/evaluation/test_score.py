"""Two folders of pictures, as a user gives them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
import torch
from PIL import Image, ImageOps
from scipy import stats

from shared.errors import DataError, DeviceError
from tasks.text_to_image import score as command

Folders = tuple[Path, Path]
LOSSES = ("visual_loss", "fashion_clip_loss", "color_loss")


@pytest.fixture
def folders(tmp_path: Path, garments: list[Image.Image]) -> Folders:
    """Four garments and their mirror images, with captions for two."""
    references, samples = tmp_path / "references", tmp_path / "samples"
    references.mkdir()
    samples.mkdir()
    for number, garment in enumerate(garments):
        garment.save(references / f"garment-{number}.png")
        ImageOps.mirror(garment).save(samples / f"garment-{number}.webp", lossless=True)
    (references / "garment-0.txt").write_text("a red  striped dress\n")
    (samples / "garment-1.txt").write_text("a blue coat")
    return references, samples


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    monkeypatch.setattr(sys, "argv", ["score", *map(str, arguments)])
    assert command.main() == 0
    return capsys.readouterr().out


@pytest.fixture
def report(folders: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(run(monkeypatch, capsys, *folders, "--fashion-clip", "pocket", "--json"))


def test_pairs_are_matched_by_stem_whatever_the_ending(report: dict[str, Any]) -> None:
    assert list(report["pairs"]) == [f"garment-{number}" for number in range(4)]
    for row in report["pairs"].values():
        assert row["color_loss"] < 0.02
        assert 0 < row["visual_loss"] < 0.1


def test_the_summary_is_students(report: dict[str, Any]) -> None:
    values = [row["visual_loss"] for row in report["pairs"].values()]
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = report["summary"]["visual_loss"]
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))
    assert found["num_pairs"] == 4


def test_every_loss_has_its_scale(report: dict[str, Any]) -> None:
    assert set(report["anchors"]) == set(LOSSES)
    for loss, ends in report["anchors"].items():
        assert ends["real"] < ends["shuffled"]
        assert ends["matching"] == 1
        expected = (ends["shuffled"] - report["summary"][loss]["mean"]) / (ends["shuffled"] - ends["real"])
        assert ends["skill"] == pytest.approx(expected)


def test_captions_lie_beside_either_picture_and_a_missing_one_is_a_blank(report: dict[str, Any]) -> None:
    clip_t = [row["clip_t"] for row in report["pairs"].values()]
    assert [value is None for value in clip_t] == [False, False, True, True]
    assert report["missing"]["clip_t"] == "there is no prompt"
    assert report["summary"]["clip_t"]["num_pairs"] == 2


def test_encoders_are_named_with_their_weights(report: dict[str, Any]) -> None:
    assert report["encoders"]["fashion_clip_loss"]["model"] == "pocket"
    assert len(report["encoders"]["fashion_clip_loss"]["digest"]) == 64
    assert report["encoders"]["visual_loss"]["model"] == "efficientnet-lite0"


def test_the_same_folders_give_the_same_bytes(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*folders, "--fashion-clip", "pocket", "--legacy", "--json")
    assert run(monkeypatch, capsys, *arguments) == run(monkeypatch, capsys, *arguments)


def test_an_encoder_that_cannot_be_had_leaves_the_others(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(run(monkeypatch, capsys, *folders, "--fashion-clip", "/nowhere", "--json"))
    assert set(report["anchors"]) == {"visual_loss", "color_loss"}
    assert "/nowhere" in report["missing"]["fashion_clip_loss"]
    assert "fashion_clip_loss" not in report["summary"]


def test_where_no_loss_can_be_computed_this_is_said_first_and_the_exit_code_is_3(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in folders:
        for path in sorted([*folder.glob("*.png"), *folder.glob("*.webp")]):
            Image.effect_noise((64, 64), 60).save(path)  # nothing in it is a garment, so no colour either
    monkeypatch.setattr(sys, "argv", ["score", *map(str, folders), "--visual", "/no", "--fashion-clip", "/nowhere"])
    assert command.main() == 3
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("No loss could be computed")
    assert not any("No sign of overfitting" in line for line in told)
    assert sum("/nowhere" in line for line in told) == 1
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--json"])
    assert command.main() == 3
    printed = capsys.readouterr()
    assert json.loads(printed.out)["anchors"] == {}
    assert printed.err.startswith("No loss could be computed")


def test_pictures_without_a_partner_are_listed(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    references, samples = folders
    (references / "garment-0.png").rename(references / "lonely.png")
    page = run(monkeypatch, capsys, references, samples, "--fashion-clip", "pocket")
    assert "pairs: 3" in page
    assert "references that match nothing: lonely" in page
    assert "samples that match nothing: garment-0" in page


def test_one_pair_has_numbers_and_neither_interval_nor_scale(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2, 3):
        (folders[1] / f"garment-{number}.webp").unlink()
    report = json.loads(run(monkeypatch, capsys, *folders, "--fashion-clip", "/nowhere", "--json"))
    assert report["summary"]["visual_loss"]["low"] is None
    assert report["anchors"] == {}
    assert set(report["missing"]) >= {"skill", "interval", "matching"}


def test_two_pairs_find_their_own_and_have_no_scale(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (2, 3):
        (folders[1] / f"garment-{number}.webp").unlink()
    report = json.loads(run(monkeypatch, capsys, *folders, "--fashion-clip", "/nowhere", "--json"))
    assert report["anchors"]["visual_loss"]["skill"] is None
    assert report["anchors"]["visual_loss"]["matching"] == 1.0
    assert "skill" in report["missing"]


def test_hidden_files_are_not_seen_and_other_pictures_are_named(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in folders:
        (folder / ".ipynb_checkpoints").mkdir()
        Image.new("RGB", (8, 8)).save(folder / ".ipynb_checkpoints" / "garment-1-checkpoint.png")
        (folder / "._garment-1.png").write_bytes(b"not a picture")
    report = json.loads(run(monkeypatch, capsys, *folders, "--fashion-clip", "/nowhere", "--json"))
    assert len(report["pairs"]) == 4
    Image.new("RGB", (8, 8)).save(folders[1] / "garment-9.gif")
    with pytest.raises(DataError, match=r"garment-9\.gif: \.gif pictures are not read"):
        command.read_pairs(*folders)


def test_a_device_that_is_not_here_is_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for device in ("nonsense", "cuda"):
        monkeypatch.setattr(sys, "argv", ["score", "/nowhere", "/nowhere", "--device", device])
        with pytest.raises(DeviceError, match=device):
            command.main()


def test_names_spelled_with_one_letter_or_two_are_the_same(tmp_path: Path) -> None:
    for folder, form in (("a", "NFC"), ("b", "NFD")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8), "red").save(tmp_path / folder / f"{normalize(form, 'café')}.png")
    assert command.read_pairs(tmp_path / "a", tmp_path / "b").ids == ("café",)


def test_folders_that_cannot_be_compared_are_refused(folders: Folders, tmp_path: Path) -> None:
    references, samples = folders
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is not a folder"):
        command.read_pairs(references, tmp_path / "absent")
    with pytest.raises(DataError, match="holds no pictures"):
        command.read_pairs(tmp_path / "empty", samples)
    for path in samples.glob("*.webp"):
        path.rename(path.with_stem(f"other-{path.stem}"))
    with pytest.raises(
        DataError, match=r"no picture of .* has the name of one in .*: the references are garment-0, garment-1"
    ):
        command.read_pairs(references, samples)


def test_two_pictures_of_one_name_are_refused(folders: Folders, garments: list[Image.Image]) -> None:
    garments[0].save(folders[0] / "garment-0.jpg")
    with pytest.raises(DataError, match="have the same name"):
        command.read_pairs(*folders)


def test_all_pictures_that_cannot_be_read_are_named_at_once(folders: Folders) -> None:
    for number in (1, 3):
        (folders[1] / f"garment-{number}.webp").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"garment-1\.webp(.|\n)*garment-3\.webp"):
        command.read_pairs(*folders)


def test_a_black_sample_is_refused_by_name(folders: Folders) -> None:
    Image.new("RGB", (64, 64)).save(folders[1] / "garment-2.webp")
    with pytest.raises(DataError, match="1 samples are all black: garment-2"):
        command.score(command.read_pairs(*folders), command.load_scorer("/nowhere"))


def test_a_copy_is_explained_and_a_raised_sign_is_called_one(capsys: pytest.CaptureFixture[str]) -> None:
    sign = {"name": "contrast", "raised": True, "evidence": "contrast is 149% of the reference pictures'"}
    found: dict[str, Any] = {
        "pairs": {"a": {}, "b": {}},
        "summary": {"visual_loss": {"mean": -1e-9, "low": -2e-9, "high": 1e-9}},
        "anchors": {"visual_loss": {"skill": 3.32, "matching": 1.0}},
        "signs": [sign],
        "unmatched": {},
        "missing": {},
    }
    command.show(found)
    told = capsys.readouterr().out
    assert "-0.0000" not in told
    assert "above 1 is more similar than that, and a copy of the reference is well above 1" in told
    assert "This is a sign of overfitting, contrast: contrast is 149%" in told
    command.show({**found, "signs": [{**sign, "raised": False}, {"name": "x", "raised": None, "evidence": ""}]})
    assert "No sign of overfitting among contrast\n" in capsys.readouterr().out
