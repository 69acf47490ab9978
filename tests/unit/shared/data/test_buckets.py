"""Buckets keep a picture's shape: equal areas, sides the model can take, as little cut away as can be."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from PIL import Image

from shared.data import buckets
from shared.data.buckets import Framing
from shared.errors import ConfigError

SD15, SDXL = (512, 64), (1024, 32)
SEVERAL = [SD15, SDXL, (768, 64), (128, 8), (32, 8), (500, 64)]


@pytest.mark.parametrize(("resolution", "multiple"), SEVERAL)
def test_every_bucket_is_of_nearly_equal_area_and_its_sides_suit_the_model(resolution: int, multiple: int) -> None:
    found = buckets.sizes(resolution, multiple)
    assert len(set(found)) == len(found)
    for width, height in found:
        assert width % multiple == height % multiple == 0
        assert 0.85 * resolution**2 < width * height <= resolution**2
        assert (height, width) in found
        assert 0.24 < width / height < 4.1


def test_the_buckets_of_known_models_are_the_known_ones() -> None:
    assert buckets.sizes(*SD15)[:5] == [(256, 1024), (320, 768), (384, 640), (448, 576), (512, 512)]
    assert {(1024, 1024), (832, 1248), (1152, 896), (1344, 768)} <= set(buckets.sizes(*SDXL))


def test_without_buckets_there_is_one_square() -> None:
    assert buckets.sizes(512, 64, square=True) == [(512, 512)]


@pytest.mark.parametrize(("resolution", "multiple", "square"), [(520, 64, True), (32, 64, False), (32, 64, True)])
def test_a_resolution_that_does_not_suit_the_model_is_refused_with_two_that_do(
    resolution: int, multiple: int, square: bool
) -> None:
    with pytest.raises(ConfigError, match=f"data.resolution is {resolution}") as caught:
        buckets.sizes(resolution, multiple, square=square)
    for number in caught.value.hint.split():
        if number.isdigit():
            assert buckets.sizes(int(number), multiple, square=True)


@pytest.mark.parametrize(("resolution", "multiple"), SEVERAL)
def test_the_nearest_bucket_keeps_the_most_of_a_picture(resolution: int, multiple: int) -> None:
    among = buckets.sizes(resolution, multiple)
    random_sizes = random.Random(0)
    for _ in range(200):
        original = (random_sizes.randint(100, 4000), random_sizes.randint(100, 4000))
        chosen = buckets.frame(original, among)
        shares = [share_kept(Framing(original, target)) for target in among]
        assert share_kept(chosen) == pytest.approx(max(shares))


def share_kept(framing: Framing) -> float:
    scaled = [side * framing.scale for side in framing.original]
    return framing.target[0] * framing.target[1] / (scaled[0] * scaled[1])


def test_a_portrait_photo_loses_little() -> None:
    for original in ((3024, 4032), (2000, 3000), (1080, 1350), (1080, 1920)):
        assert share_kept(buckets.frame(original, buckets.sizes(*SD15))) > 0.85
        assert share_kept(buckets.frame(original, buckets.sizes(*SDXL))) > 0.96


def test_a_framing_scales_until_the_bucket_is_covered_and_cuts_at_the_centre() -> None:
    framing = Framing((400, 100), (64, 32))
    assert framing.scale == 0.32
    assert framing.corner == (32, 0)
    picture = Image.new("RGB", (400, 100), "white")
    picture.paste("black", (100, 0, 300, 100))
    assert framing.apply(picture).size == (64, 32)
    assert framing.apply(picture).crop((3, 0, 61, 32)).getcolors() == [(58 * 32, (0, 0, 0))]


def test_the_corner_is_where_the_crop_begins() -> None:
    rng = random.Random(1)
    for _ in range(20):
        original = (rng.randint(40, 300), rng.randint(40, 300))
        framing = buckets.frame(original, buckets.sizes(64, 16))
        ramp = Image.linear_gradient("L").resize(original, Image.Resampling.BILINEAR)
        scaled = ramp.resize((round(original[0] * framing.scale), round(original[1] * framing.scale)))
        left, top = framing.corner
        cut = scaled.crop((left, top, left + framing.target[0], top + framing.target[1]))
        differences = zip(cut.tobytes(), framing.apply(ramp).tobytes(), strict=True)
        assert max(abs(one - other) for one, other in differences) < 12


def assign(originals: list[buckets.Size], at_least: int, among: tuple[int, int] = SDXL) -> list[buckets.Size]:
    return buckets.assign(originals, buckets.sizes(*among), at_least=at_least, repeats=[1] * len(originals))


def test_thin_buckets_join_a_neighbour() -> None:
    phones = [(3000 + 60 * number, 4000) for number in range(12)]  # 3:4, each cropped a little otherwise
    assert len(set(assign(phones, at_least=1))) > 3
    joined = Counter(assign(phones, at_least=4))
    assert min(joined.values()) >= 4


def test_a_picture_far_from_all_others_keeps_its_own_bucket() -> None:
    chosen = assign([(1000, 1000)] * 9 + [(2000, 1000)], at_least=4)
    assert chosen[-1] != chosen[0]
    assert buckets.ratio(chosen[-1]) > 1.8


def test_no_picture_is_moved_beyond_a_neighbour_by_a_chain_of_joins() -> None:
    rng = random.Random(2)
    for at_least in (1, 2, 4, 8, 16):
        originals = [(rng.randint(500, 2000), rng.randint(500, 2000)) for _ in range(40)]
        for original, target in zip(originals, assign(originals, at_least), strict=True):
            own = buckets.nearest(original, buckets.sizes(*SDXL))
            apart = buckets.ratio(target) / buckets.ratio(own)
            assert 1 / buckets.NEIGHBOURS <= apart <= buckets.NEIGHBOURS


def test_repeats_count_towards_a_full_bucket() -> None:
    among = buckets.sizes(*SDXL)
    originals = [(1000, 1000)] * 8 + [(1000, 1080)]
    alone, joined = (buckets.assign(originals, among, at_least=4, repeats=[1] * 8 + [own])[-1] for own in (4, 1))
    assert alone == buckets.nearest((1000, 1080), among) != joined
