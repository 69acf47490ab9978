"""What does `color_loss` see, and what does it cost? `python benchmarks/colour.py [PHOTOGRAPHS]` prints the tables.

Garments are drawn, so the exact mask is known; natural backgrounds are crops of the photographs installed with
scikit-image and of those in a folder, on which no constant was chosen.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from skimage.color import rgb2lab

from pocket.lessons.garments import Garment, catalogue, concept, render
from shared.data.pictures import open_picture
from tasks.text_to_image.descriptors import garment_mask as rules
from tasks.text_to_image.descriptors.garment_mask import garment_mask
from tasks.text_to_image.descriptors.palette import Palette, palette, palette_distance
from tests.integration.proofs.test_proofs import CHROMATIC, photographs

Mask = NDArray[np.bool_]
Shown = tuple[Image.Image, Mask]

SEED = 880_000
NUM_GARMENTS, NUM_OUTFITS = 76, 24
WRONG = 0.7
"""A mask whose overlap with the exact one is below this is wrong."""
WALL = (226, 222, 216)


# --- masks


@dataclass(frozen=True)
class Found:
    """What the mask of one picture is worth."""

    believed: bool
    overlap: float


def find(picture: Image.Image, exact: Mask) -> Found:
    """The mask against the truth: intersection over union."""
    mask = garment_mask(rgb2lab(np.asarray(picture)))
    return Found(not mask.is_fallback, float((mask.inside & exact).sum() / (mask.inside | exact).sum()))


def drawn() -> Iterator[tuple[Shown, np.random.Generator]]:
    """Garments of the catalogue, every fourth a tartan kimono."""
    for number in range(NUM_GARMENTS):
        rng = np.random.default_rng(SEED + number)
        known = concept(8) if number % 4 == 0 else catalogue()
        yield render(known[rng.integers(len(known))], SEED + number), rng


def plain(shown: Shown, rng: np.random.Generator) -> Shown:
    """As it is drawn, before a light wall."""
    return shown


def noisy(shown: Shown, rng: np.random.Generator) -> Shown:
    """The wall in another shade, and grain over everything."""
    pixels = np.asarray(shown[0]).astype(float)
    pixels[~shown[1]] *= rng.uniform(0.4, 1, 3)
    pixels += rng.normal(0, rng.uniform(1, 5), pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), shown[1]


def cut_off(shown: Shown, rng: np.random.Generator) -> Shown:
    """Three quarters of the picture: one or two sides cut the garment off."""
    x, y = rng.integers(0, 33, 2).tolist()
    return shown[0].crop((x, y, x + 96, y + 96)), shown[1][y : y + 96, x : x + 96]


def pale(shown: Shown, rng: np.random.Generator) -> Shown:
    """White cloth before a white wall."""
    picture, exact = shown
    pixels = np.asarray(picture).astype(float)
    grey, wall = pixels[exact].mean(axis=1, keepdims=True), pixels[~exact]
    pixels[exact] = 236 + 0.25 * (grey - grey.mean()) + rng.uniform(-8, 12) + rng.uniform(-3, 3, 3)
    pixels[~exact] = wall - wall.mean(axis=0) + 240 + rng.uniform(-4, 10)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), exact


def low_contrast(shown: Shown, rng: np.random.Generator) -> Shown:
    """A fifth of the contrast: a hazy picture."""
    pixels = np.asarray(shown[0]).astype(float)
    return Image.fromarray((pixels.mean() + (pixels - pixels.mean()) / 5).astype(np.uint8)), shown[1]


def before(backgrounds: list[Image.Image]) -> Callable[[Shown, np.random.Generator], Shown]:
    """The garment before a crop of one of the photographs."""

    def place(shown: Shown, rng: np.random.Generator) -> Shown:
        photograph = backgrounds[rng.integers(len(backgrounds))]
        edge = int(min(photograph.size) * rng.uniform(0.5, 1))
        left, top = (int(rng.integers(0, length - edge + 1)) for length in photograph.size)
        behind = photograph.crop((left, top, left + edge, top + edge)).resize(shown[0].size)
        return Image.composite(shown[0], behind, Image.fromarray(shown[1].astype(np.uint8) * 255)), shown[1]

    return place


def tell_masks(places: Mapping[str, Callable[[Shown, np.random.Generator], Shown]]) -> None:
    """Table 1."""
    print(f"\n### The mask, {NUM_GARMENTS} garments each\n")
    print(
        "| garments | mean overlap | believed | of them wrong | right ones refused |\n| --- | --- | --- | --- | --- |"
    )
    for name, place in places.items():
        found = [find(*place(shown, rng)) for shown, rng in drawn()]
        believed = [one for one in found if one.believed]
        wrong = sum(one.overlap < WRONG for one in believed)
        right = sum(not one.believed and raw >= WRONG for one, raw in zip(found, _unchecked(place), strict=True))
        overlap = np.mean([one.overlap for one in believed]) if believed else float("nan")
        print(f"| {name} | {overlap:.2f} | {len(believed)} | {wrong} | {right} |")


def _unchecked(place: Callable[[Shown, np.random.Generator], Shown]) -> list[float]:
    """The overlap that each mask would have, were all believed."""
    overlaps = []
    for shown, rng in drawn():
        picture, exact = place(shown, rng)
        inside = ~rules._connected_to_border(rules._distance_to_wall(rgb2lab(np.asarray(picture))) < rules.RESEMBLANCE)
        overlaps.append(float((inside & exact).sum() / (inside | exact).sum()))
    return overlaps


def tell_backgrounds(places: Mapping[str, Callable[[Shown, np.random.Generator], Shown]]) -> None:
    """Table 2: the same garment, pixel for pixel, on two backgrounds."""
    print(
        "\n### Identical clothes on two backgrounds\n\n| backgrounds | pairs with a value | median ΔE | ninth decile |"
    )
    print("| --- | --- | --- | --- |")
    for name, place in places.items():
        costs = []
        for shown, rng in drawn():
            one, other = (palette(place(shown, rng)[0]) for _ in range(2))
            if not one.is_fallback and not other.is_fallback:
                costs.append(palette_distance(one, other))
        ends = f"{np.median(costs):.1f} | {np.quantile(costs, 0.9):.1f}" if costs else "– | –"
        print(f"| {name} | {len(costs)} of {NUM_GARMENTS} | {ends} |")


# --- place


def outfit(top: Garment, bottom: Garment, seed: int, wall: tuple[int, int, int] = WALL) -> Image.Image:
    """One garment above another, overlapping a little, before a wall in soft light; 160 × 208."""
    rng = np.random.default_rng(seed)
    light = np.linspace(0.97, 1.03, 160)[None, :, None] * np.ones((208, 1, 1))
    picture = Image.fromarray((light * wall).clip(0, 255).astype(np.uint8))
    (dx, dy), scale = rng.integers(-6, 7, 2).tolist(), rng.uniform(0.92, 1.05)
    for garment, width, height, y in ((bottom, 70, 96, 100), (top, 104, 92, 16)):
        piece, mask = _cut_out(garment, seed, (int(width * scale), int(height * scale)))
        picture.paste(piece, (80 + dx - piece.width // 2, y + dy), mask)
    return picture


def _cut_out(garment: Garment, seed: int, size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    picture, exact = render(garment, seed, 192)
    rows, columns = np.nonzero(exact)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return picture.crop(box).resize(size), Image.fromarray(exact.astype(np.uint8) * 255).crop(box).resize(size)


def outfits() -> Iterator[dict[str, Image.Image]]:
    """What is drawn → its picture; `reference` is what the others are compared with."""
    for number in range(NUM_OUTFITS):
        rng, seed = np.random.default_rng(SEED + number), SEED + 100 * number
        first, second, third = rng.choice([*CHROMATIC, "navy", "brown", "black"], 3, replace=False).tolist()
        tops, bottoms = ("t-shirt", "hoodie", "vest", "coat"), ("trousers", "skirt", "shorts")
        kinds = str(rng.choice(tops)), str(rng.choice(bottoms))
        patterns = rng.choice(["plain", "striped", "checked", "dotted"], 2).tolist()

        def dressed(top: str, bottom: str, seed: int, patterns: list[str], **wall: tuple[int, int, int]) -> Image.Image:
            upper, lower = (Garment(*what) for what in zip(kinds, (top, bottom), patterns, strict=True))  # noqa: B023
            return outfit(upper, lower, seed, **wall)

        reference = dressed(first, second, seed, patterns)
        other = ["striped" if pattern == "dotted" else "dotted" for pattern in patterns]
        yield {
            "reference": reference,
            "mirror image": ImageOps.mirror(reference),
            "shifted by 5 %": Image.fromarray(np.roll(np.asarray(reference), 8, axis=1)),
            "at 90 % of its size": ImageOps.pad(reference.resize((144, 187)), reference.size, color=WALL),
            "another wall": dressed(first, second, seed, patterns, wall=(150, 168, 190)),
            "again: moved, turned, pattern elsewhere": dressed(first, second, seed + 50, patterns),
            "other patterns": dressed(first, second, seed + 50, other),
            "one wrong colour, the top": dressed(third, second, seed + 50, patterns),
            "top and bottom swapped": dressed(second, first, seed + 50, patterns),
        }


def tell_places() -> None:
    """Table 3."""
    costs: dict[str, list[float]] = {}
    for pictures in outfits():
        seen = {name: palette(picture) for name, picture in pictures.items()}
        for name, sample in seen.items():
            if not (seen["reference"].is_fallback or sample.is_fallback):
                costs.setdefault(name, []).append(palette_distance(seen["reference"], sample))
    print(f"\n### Two-piece outfits, {NUM_OUTFITS}\n\n| sample | ΔE, mean | pairs |\n| --- | --- | --- |")
    for name, values in costs.items():
        print(f"| {name} | {np.mean(values):.1f} | {len(values)} |")


def tell_whites() -> None:
    """Table 4: a white garment becomes cream, or red."""
    print("\n### White garments\n\n| wall | cream | red | pairs |\n| --- | --- | --- | --- |")
    for name, wall in (("grey", 176), ("white", 244)):
        rows = [row for number in range(NUM_OUTFITS) if (row := _whites(number, wall))]
        means = [f"{value:.1f}" for value in np.mean(rows, axis=0)] if rows else ["–", "–"]
        print(f"| {name} | {' | '.join(means)} | {len(rows)} |")


def _whites(number: int, wall: int) -> tuple[float, float] | None:
    kinds = ("t-shirt", "dress", "coat", "skirt", "trousers", "hoodie")
    picture, exact = render(Garment(kinds[number % len(kinds)], "grey", "plain"), SEED + number)
    pixels = np.asarray(picture).astype(float)

    def dyed(*colour: int) -> Palette:
        changed = pixels.copy()
        changed[exact] = changed[exact] / changed[exact].mean() * colour
        changed[~exact] = changed[~exact] / changed[~exact].mean() * wall
        return palette(Image.fromarray(changed.clip(0, 255).astype(np.uint8)))

    white, cream, red = dyed(240, 240, 238), dyed(240, 228, 200), dyed(180, 30, 40)
    if white.is_fallback or cream.is_fallback or red.is_fallback:
        return None
    return palette_distance(white, cream), palette_distance(white, red)


def main() -> None:
    """Print every table."""
    natural = {"before one of 14 photographs": before(list(photographs(512).values()))}
    if sys.argv[1:]:
        files = sorted(Path(sys.argv[1]).iterdir())
        natural[f"before one of {len(files)} further photographs"] = before([open_picture(file) for file in files])
    walls = {
        "before a plain wall": plain,
        "the wall in another shade, grain": noisy,
        "cut off by one or two sides": cut_off,
    }
    tell_masks({**walls, "white before a white wall": pale, "a fifth of the contrast": low_contrast, **natural})
    tell_backgrounds({"a wall in two shades, grain": noisy, **natural})
    tell_places()
    tell_whites()


if __name__ == "__main__":
    main()
