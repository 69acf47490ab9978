"""What trackers call the columns of a run's tables."""

from __future__ import annotations

from collections.abc import Mapping

from shared.followers.tracker import Table
from shared.run_folder.metric_descriptions import COMPOSITE, MetricDescriptions

ENDS = ("_low", "_high")
DERIVED = ("_delta", "_delta_low", "_delta_high", "_low", "_high", "_skill")
"""What may follow the name of a metric in `metrics.csv`."""


class TrackerNames:
    """`train/loss`, or the task's own name of a curve: `RunRecord.tracker_names`.

    In metrics.csv `x_low` and `x_high` are the interval of `x_delta` where x is compared with the base model, and of x
    itself where it is a number of the whole evaluation; trackers say `x_delta_low` of the former.
    """

    def __init__(self, own: Mapping[str, str], descriptions: MetricDescriptions) -> None:
        self._own = own
        self._compared = {column.name for column in descriptions.compared}

    def may_change(self, column: str) -> bool:
        """Whether further snapshots change the number of an earlier one: the interval of a difference."""
        return column.endswith(ENDS) and column.rpartition("_")[0] in {*self._compared, COMPOSITE[0]}

    def name(self, table: Table, column: str) -> str:
        """Of a column."""
        if table == "metrics":
            for end in ENDS:
                if column.removesuffix(end) in self._compared and column.endswith(end):
                    column = f"{column.removesuffix(end)}_delta{end}"
                    break
        for end in ("", *DERIVED):
            if column.endswith(end) and (own := self._own.get(f"{table}/{column.removesuffix(end)}")):
                return f"{own}{end}"
        return f"{table}/{column}"
