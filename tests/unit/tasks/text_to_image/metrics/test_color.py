import numpy as np
import pytest
from PIL import Image, ImageOps

from pocket.lessons.garments import Garment, concept, render
from shared.errors import ModelError
from tasks.text_to_image.descriptors.palette import NUM_BANDS, NUM_COLOURS, Palette, palette, palette_distance
from tasks.text_to_image.metrics.losses.color import color_loss
from tasks.text_to_image.scoring.metric_input import MetricInput
from tests.unit.tasks.text_to_image.metrics.blind import features_of


def cloth(*colours: tuple[int, int, int], wall: int = 245) -> Image.Image:
    """Equal stripes of the colours on a wall."""
    picture = Image.new("RGB", (96, 96), (wall, wall, wall))
    height = 60 // len(colours)
    for number, colour in enumerate(colours):
        picture.paste(colour, (20, 18 + number * height, 76, 18 + (number + 1) * height))
    return picture


def one_colour(*lab: float) -> Palette:
    return Palette(np.array([lab]), np.ones((NUM_BANDS, 1)), is_fallback=False)


def compare(reference: Image.Image, sample: Image.Image) -> dict[str, float | None]:
    return color_loss(MetricInput([reference], [sample], [""]), features_of(garment_palette=palette))[0]


def test_equal_garments_cost_nothing():
    assert compare(cloth((180, 30, 40)), cloth((180, 30, 40)))["color_de00"] == pytest.approx(0, abs=1e-9)


def test_lightness_counts_half():
    assert palette_distance(one_colour(50, 0, 0), one_colour(60, 0, 0)) == pytest.approx(10 / 1.15 / 2, rel=0.2)


def test_a_palette_holds_the_shares_of_its_colours():
    found = palette(cloth((180, 30, 40), (20, 60, 160)))
    red, blue = found.weights[:, found.lab[:, 2].argsort()[::-1]].T
    np.testing.assert_allclose(red + blue, 1)
    np.testing.assert_allclose(red, [1, 0.9, 0.1, 0], atol=0.05)


def test_a_palette_has_at_most_eight_colours():
    pixels = np.random.default_rng(0).integers(0, 160, (96, 96, 3), dtype=np.uint8)
    pixels[:12], pixels[-12:], pixels[:, :12], pixels[:, -12:] = 250, 250, 250, 250
    assert len(palette(Image.fromarray(pixels)).lab) <= NUM_COLOURS


def test_palettes_are_reproducible_to_the_bit(garments: list[Image.Image]):
    one, other = palette(garments[0]), palette(garments[0].copy())
    assert one.lab.tobytes() == other.lab.tobytes()
    assert one.weights.tobytes() == other.weights.tobytes()


def test_half_the_threads_redyed_cost_half():
    red, blue = (180, 30, 40), (20, 60, 160)
    whole, half = compare(cloth(red, red), cloth(blue, blue)), compare(cloth(red, red), cloth(red, blue))
    assert half["color_de00"] == pytest.approx((whole["color_de00"] or 0) / 2, rel=0.1)


def test_swapped_top_and_bottom_cost_nearly_what_two_wrong_colours_cost():
    red, blue = (180, 30, 40), (20, 60, 160)
    swapped, one_wrong = (
        compare(cloth(red, blue), cloth(*colours))["color_de00"] for colours in ((blue, red), (red, red))
    )
    assert (swapped or 0) > 1.7 * (one_wrong or 0)


def test_a_shift_a_mirror_image_and_another_size_leave_every_colour_in_its_place():
    outfit = cloth((180, 30, 40), (20, 60, 160))
    moved, smaller = Image.new("RGB", (96, 96), (245, 245, 245)), Image.new("RGB", (96, 96), (245, 245, 245))
    moved.paste(outfit.crop((20, 18, 76, 78)), (30, 8))
    smaller.paste(outfit.crop((20, 18, 76, 78)).resize((50, 54)), (25, 20))
    for sample in (moved, smaller, ImageOps.mirror(outfit)):
        assert (compare(outfit, sample)["color_de00"] or 0) < 1


def test_a_pattern_that_lies_elsewhere_on_the_cloth_is_nearer_than_another_pattern():
    for garment in (Garment("dress", "red", "striped"), Garment("t-shirt", "blue", "checked"), *concept(2)):
        own, other = render(garment, 72)[0], render(Garment(garment.kind, garment.colour, "plain"), 71)[0]
        moved, changed = (compare(render(garment, 71)[0], sample)["color_de00"] for sample in (own, other))
        assert 0 < 2 * (moved or 0) < (changed or 0)


def test_the_loss_is_the_distance_over_a_hundred():
    row = compare(cloth((180, 30, 40)), cloth((20, 60, 160)))
    assert row["color_loss"] == pytest.approx((row["color_de00"] or 0) / 100)


def test_a_fallback_on_either_side_is_said():
    assert compare(cloth((180, 30, 40)), cloth((180, 30, 40)))["mask_fallback"] == 0
    assert compare(cloth((180, 30, 40)), Image.new("RGB", (96, 96), "white")) == {
        "color_loss": None,
        "color_de00": None,
        "mask_fallback": 1,
    }


def test_references_without_a_garment_leave_the_whole_set_without_a_number():
    garment, wall = cloth((180, 30, 40)), Image.new("RGB", (96, 96), "white")
    with pytest.raises(ModelError, match="in 2 of 3 references the garment cannot be told from its background"):
        color_loss(MetricInput([garment, wall, wall], [garment] * 3, [""] * 3), features_of(garment_palette=palette))
