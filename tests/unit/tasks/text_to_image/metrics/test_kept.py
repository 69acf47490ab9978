"""What an instruction leaves alone and what it changes, on drawn pictures of which both are known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from shared.config.loading import parse_config
from shared.errors import ModelError
from tasks.text_to_image.metrics import metric_names, metrics_of
from tasks.text_to_image.metrics.kept import kept
from tasks.text_to_image.scoring.features import Features
from tasks.text_to_image.scoring.metric_input import MetricInput, Row

SIZE = (192, 128)
DISC = (50, 20, 130, 100)


def drawn(disc: str, wall: str = "tan", half: str = "", size: tuple[int, int] = SIZE) -> Image.Image:
    """A disc before a striped wall. half: colour of the wall's right part."""
    picture = Image.new("RGB", SIZE, wall)
    draw = ImageDraw.Draw(picture)
    if half:
        draw.rectangle((SIZE[0] // 2, 0, *SIZE), half)
    for place in range(0, SIZE[0], 16):
        draw.line((place, 0, place, SIZE[1]), "peru")
    draw.ellipse(DISC, disc)
    return picture.resize(size)


SOURCE, REFERENCE = drawn("blue"), drawn("red")


def row(sample: Image.Image, source: Image.Image | None = SOURCE, reference: Image.Image = REFERENCE) -> Row:
    return kept(MetricInput([reference], [sample], ["turn it red"], sources=[source]), Features({}))[0]


def test_the_reference_keeps_everything_and_does_the_whole_edit() -> None:
    found = row(REFERENCE)
    assert found["source_kept"] == 1
    assert found["edit_done"] == 1
    assert found["kept_distance"] == found["kept_distance_real"]


def test_a_sample_that_ignores_the_instruction_keeps_everything_and_does_nothing() -> None:
    found = row(SOURCE)
    assert found["source_kept"] == 1
    assert found["kept_distance"] == 0
    assert found["edit_done"] == pytest.approx(0, abs=1e-9)


def test_a_sample_that_changes_the_background_does_the_edit_and_keeps_nothing_of_it() -> None:
    found = row(drawn("red", wall="steelblue"))
    assert (found["source_kept"] or 0) < 0.05
    assert (found["edit_done"] or 0) > 0.9
    half = row(drawn("red", half="steelblue"))
    assert half["source_kept"] == pytest.approx(0.5, abs=0.1)
    assert (half["edit_done"] or 0) > 0.9


def test_half_of_the_way_is_between_and_another_colour_is_less_than_nothing() -> None:
    assert 0.1 < (row(Image.blend(SOURCE, REFERENCE, 0.5))["edit_done"] or 0) < 0.9
    assert (row(drawn("lime"))["edit_done"] or 0) < 0
    assert row(drawn("lime"))["source_kept"] == 1


def test_noise_and_another_size_are_no_change() -> None:
    grain = np.random.default_rng(0).normal(0, 8, (SIZE[1], SIZE[0], 3))
    noisy = Image.fromarray((np.asarray(REFERENCE) + grain).clip(0, 255).astype(np.uint8))
    assert (row(noisy)["source_kept"] or 0) > 0.99
    larger = row(drawn("red", size=(384, 256)), drawn("blue", size=(288, 192)), drawn("red", size=(384, 256)))
    assert (larger["source_kept"] or 0) > 0.99
    assert (larger["edit_done"] or 0) > 0.9


def test_there_is_nothing_to_measure_where_all_or_nothing_changes_or_the_source_is_another_view() -> None:
    everything = row(REFERENCE, Image.new("RGB", SIZE, "black"), Image.new("RGB", SIZE, "white"))
    assert everything["source_kept"] is None
    assert everything["edit_done"] is not None
    nothing = row(REFERENCE, SOURCE, SOURCE)
    assert nothing["edit_done"] is None
    assert nothing["source_kept"] is not None
    assert set(row(REFERENCE, SOURCE.resize((128, 128))).values()) == {None}
    assert set(
        kept(MetricInput([REFERENCE] * 2, [SOURCE] * 2, ["", ""], sources=[None, SOURCE]), Features({}))[0].values()
    ) == {None}
    with pytest.raises(ModelError, match="not made from sources"):
        row(REFERENCE, None)


def test_it_is_computed_for_edit_models_only() -> None:
    tree = {"path": "p", "sources": "files"}
    assert "kept" in metrics_of(parse_config({"data": tree}))
    assert "kept" not in metrics_of(parse_config({"data": {"path": "p"}}))
    assert "kept" not in metric_names()
