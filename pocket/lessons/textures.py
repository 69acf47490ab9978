"""Random shapes in random weaves: they teach the pocket VAE to draw what the pocket UNet and CLIP never see.

A VAE that knew only the catalogue could not reconstruct the demo's concept. No shape here is a garment and no weave a
tartan of the house; a picture is a pure function of its seed.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pocket.lessons.garments import SIZE, SUPERSAMPLING


def render_texture(seed: int, size: int = SIZE) -> Image.Image:
    """A light backdrop with one to four random shapes, each in a weave of its own; RGB, size × size."""
    rng = np.random.default_rng([seed, 0x7E47])
    edge = size * SUPERSAMPLING
    picture = Image.fromarray(to_uint8(np.broadcast_to(rng.uniform(0.75, 1.0, 3), (edge, edge, 3))))
    for _ in range(rng.integers(1, 5)):
        stencil = random_shape(rng, edge)
        shadow = stencil.filter(ImageFilter.GaussianBlur(edge / 24)).point([level // 5 for level in range(256)])
        picture.paste((40, 40, 40), mask=shadow)
        picture.paste(Image.fromarray(to_uint8(_random_weave(rng, edge))), mask=stencil)
    return picture.resize((size, size), Image.Resampling.BOX)


def to_uint8(colours: np.ndarray) -> np.ndarray:
    """0..1 -> 0..255."""
    return (np.clip(colours, 0, 1) * 255).astype(np.uint8)


def random_shape(rng: np.random.Generator, edge: int) -> Image.Image:
    """A star-shaped polygon of 3 to 12 corners somewhere in the picture."""
    num_corners = int(rng.integers(3, 13))
    angles = np.sort(rng.uniform(0, 2 * np.pi, num_corners))
    radii = rng.uniform(0.12, 0.6, num_corners) * edge
    corners = rng.uniform(0.25, 0.75, 2) * edge + np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1)
    stencil = Image.new("L", (edge, edge))
    ImageDraw.Draw(stencil).polygon([(float(x), float(y)) for x, y in corners], fill=255)
    return stencil


def _random_weave(rng: np.random.Generator, edge: int) -> np.ndarray:
    """Bands of random colours along two random, perpendicular directions, mixed; shaded from one side."""
    angle = rng.choice([0.0, rng.uniform(-np.pi, np.pi)])
    y, x = np.mgrid[:edge, :edge] / edge - 0.5
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    threads = bands(rng, u)
    if rng.random() < 0.7:
        threads = (threads + bands(rng, v)) / 2
    return threads * (1 + rng.uniform(-0.4, 0.4) * u + rng.uniform(-0.4, 0.4) * v)[..., None]


def bands(
    rng: np.random.Generator, position: np.ndarray, periods: tuple[float, float] = (0.1, 0.4), max_bands: int = 5
) -> np.ndarray:
    """A repeating sequence of 1 to `max_bands` bands of different widths: (H, W) -> (H, W, 3)."""
    num_bands = int(rng.integers(1, max_bands + 1))
    ends = np.cumsum(rng.uniform(0.15, 1.0, num_bands))
    cycle = np.mod(position / rng.uniform(*periods) + rng.random(), 1)
    return rng.uniform(0, 1, (num_bands, 3))[np.minimum(np.searchsorted(ends / ends[-1], cycle), num_bands - 1)]
