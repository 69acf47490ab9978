"""Averaged candidates: the average of neighbouring snapshots, with a number of its own in place of a step.

The number is a 1, then the first and the last step of the snapshots averaged, in seven digits each. So it says by
itself what it stands for, sorts behind every step, and is exact in every language that reads it. People read `750–900`.
"""

from __future__ import annotations

import re

_DIGITS = 7
_LARGEST = 10**_DIGITS
_FIRST = 10 ** (2 * _DIGITS)


def averaged(first: int, last: int) -> int | None:
    """The number of the average of the snapshots from one step to another; None: a step is too large for it."""
    return _FIRST + first * _LARGEST + last if 0 < first < last < _LARGEST else None


def ends(number: int) -> tuple[int, int] | None:
    """First and last step of the snapshots that are averaged; None: it is a step."""
    if number < _FIRST:
        return None
    first, last = divmod(number - _FIRST, _LARGEST)
    return first, last


def is_average(number: int) -> bool:
    """Whether it stands for averaged snapshots, and not for a step."""
    return number >= _FIRST


def trained_to(number: int) -> int:
    """The step itself; of an average, that of its last snapshot."""
    return (ends(number) or (number, number))[1]


def label(number: int) -> str:
    """`900`; of an average, `750–900`."""
    both = ends(number)
    return f"{both[0]}–{both[1]}" if both else str(number)


def file_stem(number: int) -> str:
    """For names of files: `000900`; of an average, `000750-000900-average`."""
    both = ends(number)
    return f"{both[0]:06d}-{both[1]:06d}-average" if both else f"{number:06d}"


def parse(text: str) -> int | None:
    """The step or number that a person means by `900`, `750-900` or `750–900`; None: neither."""
    if text.isdecimal():
        return int(text)
    match = re.fullmatch(r"(\d{1,7})[-–](\d{1,7})", text)
    return averaged(int(match[1]), int(match[2])) if match else None
