"""A share of so many, with its interval."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from scipy.special import betaincinv

from shared.statistics.paired import LEVEL


def share_interval(count: int, of: int, level: float = LEVEL) -> tuple[float, float]:
    """Jeffreys' interval of a share (Brown, Cai & DasGupta 2001); 0…1 where nothing was counted.

    At either end it is open: none of 5 has the lower end 0.
    """
    if of == 0:
        return 0.0, 1.0
    tail = (1 - level) / 2
    low = float(betaincinv(count + 0.5, of - count + 0.5, tail)) if count else 0.0
    high = float(betaincinv(count + 0.5, of - count + 0.5, 1 - tail)) if count < of else 1.0
    return low, high
