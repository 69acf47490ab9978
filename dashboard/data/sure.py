"""Which differences the evaluator is sure of, beside those of all other snapshots: the column `sure` of metrics.csv."""

from __future__ import annotations


def is_sure(cell: object, name: str) -> bool:
    """cell: names, or `none`. Tables of earlier versions have no such column: there each interval decides by itself."""
    names = cell.split() if isinstance(cell, str) else []
    return not names or name in names
