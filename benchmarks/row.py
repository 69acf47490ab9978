"""A line of the table of speeds: every script of `benchmarks/bench.py` prints some; the report and README show them.

A ratio is the median of pairs that one run measured in alternation, with the lowest and the highest of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

HEADER = "| question | beside | ratio (range) | aim |\n| --- | --- | --- | --- |"


@dataclass(frozen=True)
class Row:
    """What was measured, beside what, how they compare, and what was aimed at."""

    question: str
    beside: str
    found: str
    """A ratio by `ratio`, or another measurement by `middle` with its unit."""
    aim: str = "–"

    def __str__(self) -> str:
        """The line as Markdown."""
        return f"| {self.question} | {self.beside} | {self.found} | {self.aim} |"


def ratio(ratios: Sequence[float], form: str = ".2f") -> str:
    """The median of ratios, the range, and of how many pairs they are."""
    return f"{middle(ratios, form)}, {len(ratios)} pair{'s' * (len(ratios) > 1)}"


def middle(values: Sequence[float], form: str = ".2f", unit: str = "") -> str:
    """The median of values, and the range."""
    low, high = format(min(values), form), format(max(values), form)
    return f"{median(values):{form}}{unit} ({low}–{high})"


def tell(rows: Iterable[Row]) -> None:
    """Print a table; the first two rows are those that README shows."""
    print("\n".join([HEADER, *map(str, rows)]), flush=True)


def rows_in(text: str) -> list[str]:
    """The lines that `tell` printed, from everything that a script printed."""
    found: list[str] = []
    for part in text.split(HEADER)[1:]:
        for line in part.lstrip("\n").splitlines():
            if not line.startswith("| "):
                break
            found.append(line)
    return found
