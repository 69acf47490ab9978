"""Glyphs that are read, among characters made of lines: no font is needed."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from shared.config.loading import parse_config
from shared.errors import ModelError
from tasks.text_to_image import metrics
from tasks.text_to_image.encoders import glyph_bank
from tasks.text_to_image.evaluation.scorer import Scorer, load_scorer
from tasks.text_to_image.metrics.glyphs import METRIC
from tasks.text_to_image.scoring.metric_input import MetricInput

SIZE, COLUMNS, COUNT = 64, 8, 40


def glyph(number: int, width: int) -> Image.Image:
    """A character of five strokes."""
    picture, draw = Image.new("L", (SIZE, SIZE), 255), random.Random(number)
    for _ in range(5):
        ends = [draw.randint(6, 57) for _ in range(4)]
        ImageDraw.Draw(picture).line(ends, fill=0, width=width)
    return picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty characters in a thin and in a thick font."""
    place = tmp_path_factory.mktemp("glyphs")
    for name, width in (("thin", 2), ("thick", 6)):
        sheet = Image.new("L", (COLUMNS * SIZE, COUNT // COLUMNS * SIZE), 255)
        for number in range(COUNT):
            sheet.paste(glyph(number, width), (number % COLUMNS * SIZE, number // COLUMNS * SIZE))
        sheet.save(place / f"{name}.png")
    meanings = {chr(0x4E00 + number): f"meaning {number}" for number in range(COUNT)}
    told = {
        "schema": "1.0",
        "size": SIZE,
        "columns": COLUMNS,
        "sheets": ["thin.png", "thick.png"],
        "meanings": meanings,
    }
    (place / "glyphs.json").write_text(json.dumps(told))
    return place


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Scorer:
    return load_scorer("/nowhere", "gradients", metrics=(METRIC.name,), glyphs=str(folder))


def score(scorer: Scorer, pictures: list[Image.Image], prompts: list[str]) -> list[dict[str, float | None]]:
    rgb = [picture.convert("RGB") for picture in pictures]
    return [dict(row) for row in scorer.score_without_references(MetricInput((), rgb, prompts)).rows]


def test_glyphs_of_another_width_are_read_and_others_are_not(scorer: Scorer) -> None:
    prompts = [f"Meaning {number} " for number in range(COUNT)]
    own = score(scorer, [glyph(number, 4) for number in range(COUNT)], prompts)
    assert all(row == {"glyph_loss": 0.0, "glyph_top1": 1.0, "glyph_top10": 1.0} for row in own)
    others = score(scorer, [glyph(number + 1000, 4) for number in range(COUNT)], prompts)
    assert sum(row["glyph_top1"] or 0 for row in others) <= 5
    losses = [row["glyph_loss"] for row in others]
    assert 0.5 < sum(value for value in losses if value is not None) / COUNT < 0.9


def test_a_flat_picture_ranks_in_the_middle_and_an_unknown_meaning_has_no_number(scorer: Scorer) -> None:
    flat, unknown = score(scorer, [Image.new("L", (32, 32), 200), glyph(1, 2)], ["meaning 3", "no such meaning"])
    assert flat["glyph_top10"] == 0.0
    assert flat["glyph_loss"] == pytest.approx(0.81, abs=0.02)
    assert set(unknown.values()) == {None}


@pytest.mark.parametrize("fault", ["absent", "short", "torn"])
def test_a_folder_that_cannot_be_read_leaves_empty_cells_with_the_reason(
    folder: Path, tmp_path: Path, fault: str
) -> None:
    if fault == "short":
        Image.new("L", (SIZE, SIZE)).save(tmp_path / "thin.png")
        Image.new("L", (SIZE, SIZE)).save(tmp_path / "thick.png")
        (tmp_path / "glyphs.json").write_bytes((folder / "glyphs.json").read_bytes())
    if fault == "torn":
        (tmp_path / "glyphs.json").write_text("{")
    with pytest.raises(ModelError, match=r"evaluation\.glyphs"):
        glyph_bank.load(str(tmp_path))
    blank = load_scorer("/nowhere", "gradients", metrics=(METRIC.name,), glyphs=str(tmp_path))
    found = blank.score_without_references(MetricInput((), [glyph(1, 2).convert("RGB")], ["meaning 1"]))
    assert set(found.rows[0].values()) == {None}
    assert all("evaluation.glyphs" in reason for reason in found.missing.values())


def test_it_stands_alone_and_only_where_it_is_set(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("meaning 1\nmeaning 2\n")
    evaluation = {"prompts": str(tmp_path / "prompts.txt"), "glyphs": str(folder)}
    config = parse_config({"data": {"path": "p", "num_validation": 0}, "evaluation": evaluation})
    assert metrics.metrics_of(config) == (METRIC.name,)
    described = metrics.descriptions(config)
    assert [column.name for column in described.weighable] == ["glyph_loss"]
    assert {"visual_loss", "fashion_clip_loss", "color_loss"} <= metrics.unmeasured(config).keys()
    without = parse_config({"data": {"path": "p"}})
    assert METRIC.name not in metrics.metrics_of(without)
    assert "clip_t" in metrics.metrics_of(without)
