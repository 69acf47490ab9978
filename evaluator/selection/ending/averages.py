"""Which neighbouring snapshots are averaged, and what an average's composite is worth. Pure.

Neighbours on one training path often lie around a better point than any of them reaches (Izmailov et al. 2018). Each
average is drawn and scored like a snapshot, and may win. It lies on no curve over the steps, so no trend smooths it: it
counts as the mean of its snapshots' smoothed composites, plus what it is better than they are beyond the luck of the
prompts (James & Stein 1961). Both come from the same prompts and seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.run_folder.averages import averaged

Numbers = NDArray[np.float64]


def windows(steps: Sequence[int], able: Sequence[int], best: int, count: int) -> tuple[int, ...]:
    """Numbers of the averages to make: the best with one neighbour on each side, then two, and so on, `count` of them.

    steps: of all evaluated snapshots, ascending; able: those that may be shipped. A window ends before one that may
    not.
    """
    place, found = steps.index(best), list[int]()
    first = last = place
    while len(found) < count:
        widened = (_further(steps, able, first, -1), _further(steps, able, last, 1))
        if widened == (first, last):
            break
        first, last = widened
        number = averaged(steps[first], steps[last])
        if number is None:
            break
        found.append(number)
    return tuple(found)


def _further(steps: Sequence[int], able: Sequence[int], place: int, by: int) -> int:
    """The next place in this direction, or the same one where there is none to take in."""
    following = place + by
    return following if 0 <= following < len(steps) and steps[following] in able else place


def shrunk(own_P: Numbers, sources_SP: Numbers, smoothed_SP: Numbers) -> Numbers:
    """The composite of each prompt that an average counts with. own_P: as drawn; sources_SP: those of its snapshots;
    smoothed_SP: the same, smoothed."""
    difference_P = own_P - sources_SP.mean(axis=0)
    mean = float(difference_P.mean())
    luck = float(difference_P.var(ddof=1)) / len(difference_P) if len(difference_P) > 1 else np.inf
    kept = max(0.0, 1 - luck / mean**2) if mean else 0.0
    return smoothed_SP.mean(axis=0) + kept * difference_P
