"""Which differences the evaluator is sure of, beside those of all other snapshots: the column `sure` of metrics.csv."""

from __future__ import annotations


def is_sure(told: object, name: str) -> bool:
    """told: the cell, names or `none`. Tables of earlier versions say nothing: there an interval speaks for itself."""
    names = told.split() if isinstance(told, str) else []
    return not names or name in names
