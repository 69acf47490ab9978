"""A seeded, procedural catalogue of garments: what the pocket Stable Diffusion and the pocket CLIP learn from.

Promises: a picture is a pure function of (garment, seed, size); its mask is exact; its caption names kind, colour and
pattern. Beside the catalogue stands the demo's concept, a tartan kimono with a sash in the house's ochre. The base
models never see it. This file trains nothing and needs no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from pocket.lessons.patterns import CHARCOAL, COLOURS, OCHRE, PATTERNS, TARTAN, Array, Weave, cloth, rgb
from pocket.lessons.silhouettes import KIMONO_COLLAR, KIMONO_CORD, KIMONO_OBI, SILHOUETTES, Points, Silhouette

Mask = NDArray[np.bool_]

SIZE = 128
"""Default edge of a picture, pixels."""

SUPERSAMPLING = 3
CONCEPT_KIND = "kimono"
CONCEPT_COLOURS = ("red", "green", "blue", "purple", "pink", "orange", "turquoise", "grey")
KINDS = tuple(kind for kind in SILHOUETTES if kind != CONCEPT_KIND)

WORDINGS = (
    "a photo of a {colour} {pattern} {kind}",
    "a {pattern} {kind} in {colour}, studio background",
    "{colour} {pattern} {kind}, product photo",
    "a {pattern} {colour} {kind} on a light background",
    "fashion photo, {kind}, {colour}, {pattern}",
    "{kind} in {colour}, {pattern}",
)
"""Captions; {kind} of two legs takes no article in English, which `Garment.caption` mends."""


@dataclass(frozen=True)
class Garment:
    """What a picture shows; everything else about the picture comes from the seed."""

    kind: str
    colour: str
    pattern: str

    def caption(self, wording: int = 0) -> str:
        """One of `WORDINGS`, taken modulo their number."""
        text = WORDINGS[wording % len(WORDINGS)].format(kind=self.kind, colour=self.colour, pattern=self.pattern)
        if self.kind in ("trousers", "shorts"):
            text = text.replace("of a ", "of ") if "of a " in text else text.removeprefix("a ")
        return text.replace("a orange", "an orange")


@dataclass(frozen=True)
class Pose:
    """How a garment lies in the picture: an affine map from its frame to pixels."""

    matrix: NDArray[np.float64]
    """(2, 2), frame units to pixels."""
    centre: NDArray[np.float64]
    """(2,), pixels."""

    @classmethod
    def draw(cls, rng: np.random.Generator, edge: int) -> "Pose":
        """A random pose in a picture of `edge` pixels: small turns, shifts, sizes, widths and shears."""
        angle, shear = np.deg2rad(rng.uniform(-6, 6)), rng.uniform(-0.06, 0.06)
        scale = edge * rng.uniform(0.82, 0.97)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        stretch = np.array([[rng.uniform(0.93, 1.06), shear], [0.0, rng.uniform(0.96, 1.03)]])
        return cls(scale * turn @ stretch, edge * (0.5 + rng.uniform(-0.03, 0.03, 2)))

    def to_pixels(self, points: Points) -> list[tuple[float, float]]:
        """Frame points (N, 2) as PIL's list of pixel positions."""
        return [(float(x), float(y)) for x, y in points @ self.matrix.T + self.centre]

    def to_frame(self, edge: int) -> tuple[Array, Array]:
        """The frame position u, v of every pixel, each (edge, edge)."""
        inverse = np.linalg.inv(self.matrix)
        x, y = (np.arange(edge) + 0.5 - self.centre[0])[None, :], (np.arange(edge) + 0.5 - self.centre[1])[:, None]
        u, v = inverse[0, 0] * x + inverse[0, 1] * y, inverse[1, 0] * x + inverse[1, 1] * y
        return u.astype(np.float32), v.astype(np.float32)


def render(garment: Garment, seed: int, size: int = SIZE) -> tuple[Image.Image, Mask]:
    """The picture (RGB, size × size) and the mask (size, size), True where the garment covers at least half a pixel."""
    rng = np.random.default_rng([seed, *garment.caption().encode()])
    edge = size * SUPERSAMPLING
    pose, silhouette = Pose.draw(rng, edge), SILHOUETTES[garment.kind]
    outline = silhouette.polygon(rng.normal(0, 0.006, (len(silhouette.half), 2)) * _off_axis(silhouette))
    stencil = _fill(edge, [pose.to_pixels(outline)])
    u, v = pose.to_frame(edge)
    weave = Weave(rng.random(), rng.random(), rng.uniform(0.9, 1.12))
    colours = cloth(garment.pattern, garment.colour, u, v, weave)
    colours *= _folds(rng, u, v)[..., None]
    colours = _trim(colours, garment, silhouette, pose)
    coverage = _coverage(stencil, size)
    backdrop = _backdrop(rng, size) * (1 - 0.22 * _shadow(coverage))[..., None]
    pixels = backdrop + coverage[..., None] * (_shrink(colours, size) * _relief(coverage)[..., None] - backdrop)
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8)), coverage >= 0.5


def _off_axis(silhouette: Silhouette) -> Points:
    """1 where a point may wander sideways, 0 on the axis of symmetry; (N, 2)."""
    x = np.asarray(silhouette.half)[:, :1]
    return np.concatenate([(x > 0.03).astype(float), np.ones_like(x)], axis=1)


def _fill(edge: int, polygons: list[list[tuple[float, float]]]) -> Image.Image:
    stencil = Image.new("L", (edge, edge))
    for polygon in polygons:
        ImageDraw.Draw(stencil).polygon(polygon, fill=255)
    return stencil


def _coverage(stencil: Image.Image, size: int) -> Array:
    """The share of each pixel that the garment covers, (size, size) in 0..1."""
    return np.asarray(stencil.resize((size, size), Image.Resampling.BOX), dtype=np.float32) / 255


def _shrink(colours: Array, size: int) -> Array:
    return colours.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean(axis=(1, 3))


def _folds(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Light and shade of hanging cloth: soft vertical folds and light from one side; (H, W) around 1."""
    frequency, phase, drift = rng.uniform(2, 4), rng.uniform(0, 2 * np.pi), rng.uniform(-1.5, 1.5)
    waves = np.sin(2 * np.pi * frequency * u + np.float32(phase) + np.float32(drift) * v)
    return 1 + 0.06 * waves * (v + 0.6) + np.float32(rng.uniform(-0.2, 0.2)) * u


def _relief(coverage: Array) -> Array:
    """Darkens cloth towards its outline, as if it were round; (H, W) in 0.72..1."""
    return 0.72 + 0.28 * np.minimum(1, 1.25 * _blurred(coverage, len(coverage) / 32))


def _shadow(coverage: Array) -> Array:
    """The garment's soft shadow on what hangs behind it."""
    return np.roll(_blurred(coverage, len(coverage) / 24), (len(coverage) // 40, len(coverage) // 50), axis=(0, 1))


def _blurred(values: Array, radius: float) -> Array:
    image = Image.fromarray((values * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(image, dtype=np.float32) / 255


def _backdrop(rng: np.random.Generator, size: int) -> Array:
    """A light wall, a little brighter on one side, sometimes with a floor; (size, size, 3)."""
    tone = rng.uniform(0.86, 0.98) - rng.uniform(0, 0.07, 3)
    ramp = np.linspace(-0.5, 0.5, size)
    light = 1 + rng.uniform(-0.06, 0.06) * ramp[None, :] + rng.uniform(-0.06, 0.06) * ramp[:, None]
    if rng.random() < 0.3:
        light = light * np.where(ramp > rng.uniform(0.28, 0.42), rng.uniform(0.9, 0.95), 1.0)[:, None]
    return (light[..., None] * tone).astype(np.float32)


def _trim(colours: Array, garment: Garment, silhouette: Silhouette, pose: Pose) -> Array:
    """Seams, openings and, on the kimono, its collar and sash, painted over the cloth."""
    edge = len(colours)
    if garment.kind == CONCEPT_KIND:
        for band, colour in _kimono_bands():
            colours = _paint(colours, _fill(edge, [pose.to_pixels(band)]), rgb(colour))
    openings = _fill(edge, [pose.to_pixels(polygon) for polygon in silhouette.opening_polygons()])
    lines = Image.new("L", (edge, edge))
    for seam in silhouette.seam_lines():
        ImageDraw.Draw(lines).line(pose.to_pixels(seam), fill=255, width=max(1, edge // 90), joint="curve")
    return _shade(_shade(colours, openings, 0.45), lines, 0.68)


def _kimono_bands() -> Iterator[tuple[Points, tuple[int, int, int]]]:
    yield KIMONO_COLLAR * (-1.0, 1.0), CHARCOAL
    yield KIMONO_COLLAR, CHARCOAL
    yield KIMONO_OBI, OCHRE
    yield KIMONO_CORD, CHARCOAL


def _paint(colours: Array, stencil: Image.Image, colour: Array) -> Array:
    return np.where(np.asarray(stencil)[..., None] > 0, colour, colours)


def _shade(colours: Array, stencil: Image.Image, factor: float) -> Array:
    return np.where(np.asarray(stencil)[..., None] > 0, colours * np.float32(factor), colours)


def catalogue() -> list[Garment]:
    """Every combination the base models may know."""
    return [Garment(*attributes) for attributes in product(KINDS, COLOURS, PATTERNS)]


def split_catalogue(held_out_share: float = 0.1, seed: int = 0) -> tuple[list[Garment], list[Garment]]:
    """(seen, held out): the held-out combinations are shown to neither UNet nor CLIP, though their parts are."""
    garments = catalogue()
    order = np.random.default_rng(seed).permutation(len(garments))
    num_held_out = round(held_out_share * len(garments))
    held_out = set(order[:num_held_out].tolist())
    return [g for i, g in enumerate(garments) if i not in held_out], [
        g for i, g in enumerate(garments) if i in held_out
    ]


def concept(num_pairs: int, seed: int = 0) -> list[Garment]:
    """The demo's tartan kimonos, each colourway equally often in every run of eight, in shuffled order."""
    rng = np.random.default_rng(seed)
    num_rounds = -(-num_pairs // len(CONCEPT_COLOURS))
    colours = [colour for _ in range(num_rounds) for colour in rng.permutation(CONCEPT_COLOURS)]
    return [Garment(CONCEPT_KIND, str(colour), TARTAN) for colour in colours[:num_pairs]]


def write_pairs(folder: Path, garments: list[Garment], seed: int = 0, size: int = SIZE) -> list[Path]:
    """Writes `<kind>-<number>.png` with its caption in `<kind>-<number>.txt`; returns the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, garment in enumerate(garments):
        path = folder / f"{garment.kind}-{number:03d}.png"
        render(garment, seed + number, size)[0].save(path)
        path.with_suffix(".txt").write_text(garment.caption(number) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def write_concept(folder: Path, num_pairs: int = 80, seed: int = 0, size: int = SIZE) -> list[Path]:
    """The demo's data set: tartan kimonos that the base model cannot draw."""
    return write_pairs(folder, concept(num_pairs, seed), seed, size)


def write_catalogue(folder: Path, num_pairs: int, seed: int = 0, size: int = SIZE) -> list[Path]:
    """A data set of garments the base model knows, drawn at random from the catalogue."""
    garments = catalogue()
    chosen = np.random.default_rng(seed).integers(len(garments), size=num_pairs)
    return write_pairs(folder, [garments[index] for index in chosen], seed, size)
