"""What a pocket garment's cloth looks like: colours, and patterns as functions of the position on the garment.

Colours are sRGB triples in 0..1, arrays are (H, W, 3) floats; u and v are positions in the garment's frame (see
`silhouettes`), so that a pattern moves and turns with the garment. A pattern is a pure function: randomness is an
argument.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 28, 38),
    "orange": (246, 132, 24),
    "yellow": (248, 214, 40),
    "green": (34, 132, 52),
    "turquoise": (48, 196, 186),
    "blue": (44, 104, 226),
    "navy": (24, 32, 104),
    "purple": (124, 44, 168),
    "pink": (250, 138, 186),
    "brown": (112, 64, 30),
    "black": (30, 28, 30),
    "grey": (138, 140, 142),
}
"""Colour words and their sRGB values (0..255): 12 that stay apart in CIELAB even when shaded."""

CREAM, CHARCOAL, OCHRE = (250, 244, 228), (58, 52, 58), (206, 156, 52)
DARK_ACCENTED = frozenset({"yellow"})
"""Colours on which cream cannot be seen."""

PATTERNS = ("plain", "striped", "checked", "dotted")
TARTAN = "tartan"


@dataclass(frozen=True)
class Weave:
    """Where a pattern lies: offsets in 0..1 of a period, and a factor on the period."""

    phase_u: float = 0.0
    phase_v: float = 0.0
    stretch: float = 1.0


def rgb(colour: tuple[int, int, int]) -> Array:
    """An sRGB triple in 0..255 as (3,) float32 in 0..1."""
    return np.asarray(colour, dtype=np.float32) / 255


def accent_of(colour: str) -> Array:
    """The second colour of a patterned garment, (3,)."""
    return rgb(CHARCOAL if colour in DARK_ACCENTED else CREAM)


def cloth(pattern: str, colour: str, u: Array, v: Array, weave: Weave) -> Array:
    """The unshaded cloth at positions u, v (H, W): (H, W, 3) in 0..1."""
    base = rgb(COLOURS[colour])
    if pattern == TARTAN:
        return _tartan(base, u, v, weave)
    accent_share = {"plain": _plain, "striped": _stripes, "checked": _checks, "dotted": _dots}[pattern](u, v, weave)
    return base + accent_share[..., None] * (accent_of(colour) - base)


def _cycle(position: Array, period: float, phase: float) -> Array:
    """The position within a period, 0..1."""
    return np.mod(position / np.float32(period) + np.float32(phase), np.float32(1))


def _plain(u: Array, v: Array, weave: Weave) -> Array:
    return np.zeros_like(u)


def _stripes(u: Array, v: Array, weave: Weave) -> Array:
    return (_cycle(v, 0.145 * weave.stretch, weave.phase_v) < 0.42).astype(np.float32)


def _checks(u: Array, v: Array, weave: Weave) -> Array:
    """Gingham: where a light warp crosses a light weft the cloth is lightest."""
    period = 0.17 * weave.stretch
    warp, weft = _cycle(u, period, weave.phase_u) < 0.5, _cycle(v, period, weave.phase_v) < 0.5
    return np.float32(0.5) * (warp.astype(np.float32) + weft.astype(np.float32))


def _dots(u: Array, v: Array, weave: Weave) -> Array:
    """Round dots, every second row shifted by half a period."""
    period = 0.165 * weave.stretch
    row, column = v / period + weave.phase_v, u / period + weave.phase_u
    column = column + np.floor(row) % 2 / 2
    return (np.hypot(np.mod(column, 1) - 0.5, np.mod(row, 1) - 0.5) < 0.3).astype(np.float32)


def _tartan(base: Array, u: Array, v: Array, weave: Weave) -> Array:
    """The house tartan: dark bands, a cream and an ochre line, warp and weft mixed half and half."""
    period = 0.3 * weave.stretch
    warp = _sett(base, _cycle(u, period, weave.phase_u))
    weft = _sett(base, _cycle(v, period, weave.phase_v))
    return (warp + weft) / 2


def _sett(base: Array, cycle: Array) -> Array:
    """One repeat of the tartan's thread count along one axis: (H, W) in 0..1 -> (H, W, 3)."""
    threads = np.broadcast_to(base, (*cycle.shape, 3)).copy()
    threads[(cycle > 0.5) & (cycle < 0.86)] = 0.22 * base + 0.02
    threads[(cycle > 0.62) & (cycle < 0.74)] = rgb(OCHRE)
    threads[(cycle > 0.18) & (cycle < 0.3)] = rgb(CREAM)
    return threads
