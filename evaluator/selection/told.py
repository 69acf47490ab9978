"""The English sentences of a verdict, in the unit that a run's snapshots are counted in. Pure."""

from __future__ import annotations

from typing import Any

from shared.run_folder.phrase import Unit, in_unit
from shared.run_folder.records.best import Best

ENGLISH = frozenset({"reason", "evidence", "cautions", "passed_over"})
"""Fields of the records in best.json that hold sentences. Beside each are its phrases, which stay as they are
translated from."""


def told_in(unit: Unit, best: Best) -> Best:
    """The same verdict; where epochs are counted, its sentences speak of epochs."""
    if unit == "step":
        return best
    return Best.model_validate(_told(best.model_dump(by_alias=True), unit, says=False))


def _told(tree: Any, unit: Unit, *, says: bool) -> Any:
    """says: whether texts in it are sentences."""
    if isinstance(tree, dict):
        return {key: _told(value, unit, says=says or key in ENGLISH) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_told(one, unit, says=says) for one in tree]
    return in_unit(tree, unit) if says and isinstance(tree, str) else tree
