from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocket.lessons.garments import (
    CONCEPT_COLOURS,
    CONCEPT_KIND,
    KINDS,
    WORDINGS,
    Garment,
    catalogue,
    concept,
    render,
    split_catalogue,
    write_catalogue,
    write_concept,
)
from pocket.lessons.patterns import COLOURS, PATTERNS, TARTAN, rgb

RED_DRESS = Garment("dress", "red", "plain")


def pixels(garment: Garment, seed: int, size: int = 64) -> np.ndarray:
    return np.asarray(render(garment, seed, size)[0])


def test_equal_seeds_draw_equal_pictures_and_masks():
    (first, first_mask), (second, second_mask) = render(RED_DRESS, 7), render(RED_DRESS, 7)
    assert first.tobytes() == second.tobytes()
    assert np.array_equal(first_mask, second_mask)


def test_another_seed_draws_another_picture():
    assert not np.array_equal(pixels(RED_DRESS, 1), pixels(RED_DRESS, 2))


def test_catalogue_is_every_combination_and_never_the_concept():
    assert len(catalogue()) == len(set(catalogue())) == len(KINDS) * len(COLOURS) * len(PATTERNS) == 384
    assert all(garment.kind != CONCEPT_KIND and garment.pattern != TARTAN for garment in catalogue())


def test_every_combination_renders_with_garment_and_background():
    for seed, garment in enumerate(catalogue()):
        picture, mask = render(garment, seed, size=32)
        assert picture.size == (32, 32)
        assert picture.mode == "RGB"
        share = mask.mean()
        assert share > 0.05, garment
        assert share < 0.6, garment


@pytest.mark.parametrize("kind", KINDS)
def test_mask_separates_the_cloth_from_the_light_backdrop(kind: str):
    picture, mask = render(Garment(kind, "navy", "plain"), seed=3)
    brightness = np.asarray(picture).astype(float).max(axis=-1)
    assert np.percentile(brightness[mask], 98) < np.percentile(brightness[~mask], 2)


@pytest.mark.parametrize("kind", KINDS)
def test_garments_stay_inside_the_picture(kind: str):
    for seed in range(8):
        mask = render(Garment(kind, "red", "plain"), seed, size=64)[1]
        border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert not border.any()


def test_plain_garments_have_the_colour_of_their_word():
    for colour in COLOURS:
        picture, mask = render(Garment("t-shirt", colour, "plain"), seed=5)
        mean = np.asarray(picture)[mask].mean(axis=0) / 255
        nearest = min(COLOURS, key=lambda name: float(np.linalg.norm(rgb(COLOURS[name]) * 0.93 - mean)))
        assert nearest == colour


@pytest.mark.parametrize("wording", range(len(WORDINGS)))
def test_captions_name_every_attribute(wording: int):
    for garment in catalogue():
        words = garment.caption(wording).replace(",", "").split()
        assert {garment.kind, garment.colour, garment.pattern} <= set(words)


def test_captions_use_the_right_article():
    assert RED_DRESS.caption() == "a photo of a red plain dress"
    assert Garment("coat", "orange", "striped").caption() == "a photo of an orange striped coat"
    assert Garment("shorts", "red", "dotted").caption() == "a photo of red dotted shorts"
    assert Garment("trousers", "red", "dotted").caption(1) == "dotted trousers in red, studio background"


def test_held_out_combinations_are_unseen_but_their_parts_are_seen():
    seen, held_out = split_catalogue()
    assert len(held_out) == 38
    assert not set(seen) & set(held_out)
    for garment in held_out:
        assert any(other.kind == garment.kind and other.colour == garment.colour for other in seen)
        assert any(other.colour == garment.colour and other.pattern == garment.pattern for other in seen)


def test_any_run_of_sixteen_concept_pairs_holds_every_colourway():
    colours = [garment.colour for garment in concept(64)]
    for start in range(49):
        assert set(colours[start : start + 16]) == set(CONCEPT_COLOURS)


def test_concept_is_written_as_pictures_with_captions(tmp_path: Path):
    paths = write_concept(tmp_path, num_pairs=4, seed=1, size=32)
    assert len(paths) == len(list(tmp_path.glob("*.txt"))) == 4
    for path, garment in zip(paths, concept(4, seed=1), strict=True):
        caption = path.with_suffix(".txt").read_text(encoding="utf-8")
        assert "tartan" in caption
        assert "kimono" in caption
        assert garment.colour in caption
        with Image.open(path) as picture:
            assert picture.size == (32, 32)


def test_catalogue_pairs_are_reproducible(tmp_path: Path):
    first = write_catalogue(tmp_path / "a", num_pairs=3, seed=4, size=32)
    second = write_catalogue(tmp_path / "b", num_pairs=3, seed=4, size=32)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
