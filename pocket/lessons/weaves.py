"""Random cloth in the finest weaves a picture can hold: what the crisp VAE learns from beside garments and textures.

Tartans, checks, stripes and dots down to periods of three pixels, which `textures` never draws. No weave here is a
tartan of the house; a picture is a pure function of its seed.
"""

import numpy as np
from PIL import Image

from pocket.lessons.garments import SIZE, SUPERSAMPLING
from pocket.lessons.textures import bands, random_shape, to_uint8

PERIODS = (3.0, 48.0)
"""Pixels, drawn evenly on a logarithmic scale."""


def render_weave(seed: int, size: int = SIZE) -> Image.Image:
    """Cloth from edge to edge and up to three pieces of other cloth on it; RGB, size × size."""
    rng = np.random.default_rng([seed, 0x3EA7])
    edge = size * SUPERSAMPLING
    picture = Image.fromarray(to_uint8(_weave(rng, edge)))
    for _ in range(rng.integers(0, 4)):
        picture.paste(Image.fromarray(to_uint8(_weave(rng, edge))), mask=random_shape(rng, edge))
    return picture.resize((size, size), Image.Resampling.BOX)


def _weave(rng: np.random.Generator, edge: int) -> np.ndarray:
    """One cloth, shaded from one side: (edge, edge, 3) in 0..1."""
    angle = rng.choice([0.0, rng.normal(0, 0.1), rng.uniform(-np.pi, np.pi)])
    y, x = np.mgrid[:edge, :edge] / edge - 0.5
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    draw = (_plain, _stripes, _tartan, _tartan, _checks, _dots)[rng.integers(6)]
    shade = 1 + rng.uniform(-0.4, 0.4) * u + rng.uniform(-0.4, 0.4) * v
    return draw(rng, u, v, edge / SUPERSAMPLING) * shade[..., None]


def _period(rng: np.random.Generator, pixels: float) -> float:
    """In units of the picture's edge."""
    return float(np.exp(rng.uniform(*np.log(PERIODS)))) / pixels


def _plain(rng: np.random.Generator, u: np.ndarray, v: np.ndarray, pixels: float) -> np.ndarray:
    return np.broadcast_to(rng.uniform(0, 1, 3), (*u.shape, 3))


def _stripes(rng: np.random.Generator, u: np.ndarray, v: np.ndarray, pixels: float) -> np.ndarray:
    period = _period(rng, pixels)
    return bands(rng, u, (period, period), 3)


def _tartan(rng: np.random.Generator, u: np.ndarray, v: np.ndarray, pixels: float) -> np.ndarray:
    """Warp and weft of one sequence, or of two, mixed half and half; at least three pixels a band."""
    period = max(_period(rng, pixels), 9 / pixels)
    max_bands = int(np.clip(period * pixels / 3, 3, 8))
    warp, weft = rng, np.random.default_rng(rng.integers(2**32))
    if rng.random() < 0.7:
        warp, weft = (np.random.default_rng(seed) for seed in [rng.integers(2**32)] * 2)
    return (bands(warp, u, (period, period), max_bands) + bands(weft, v, (period, period), max_bands)) / 2


def _checks(rng: np.random.Generator, u: np.ndarray, v: np.ndarray, pixels: float) -> np.ndarray:
    """Gingham, or a chess board."""
    period, (ground, accent) = _period(rng, pixels), rng.uniform(0, 1, (2, 3))
    warp, weft = (np.mod(position / period + rng.random(), 1) < 0.5 for position in (u, v))
    share = warp ^ weft if rng.random() < 0.3 else (warp.astype(float) + weft) / 2
    return ground + share[..., None] * (accent - ground)


def _dots(rng: np.random.Generator, u: np.ndarray, v: np.ndarray, pixels: float) -> np.ndarray:
    """Round dots, every second row shifted by half a period."""
    period, (ground, accent) = _period(rng, pixels), rng.uniform(0, 1, (2, 3))
    row, column = v / period + rng.random(), u / period + rng.random()
    column = column + np.floor(row) % 2 / 2
    inside = np.hypot(np.mod(column, 1) - 0.5, np.mod(row, 1) - 0.5) < rng.uniform(0.15, 0.4)
    return ground + inside[..., None] * (accent - ground)
