"""How sure an interval must be where a run shows many of them. Pure.

With 20 snapshots and 5 numbers each, a base model compared with itself shows something "surely" different in most runs.
The intervals here hold for all snapshots and all metrics at once (Bonferroni, with Student's t over prompts): the
composite, which decides, has the usual chance of error for itself, all other metrics together a fifth of it. Bands from
the correlation between snapshots would hardly be narrower, for each snapshot has a standard error of its own.
"""

from __future__ import annotations

from shared.statistics.paired import LEVEL

METRICS_ERROR = (1 - LEVEL) / 5


def composite_level(num_snapshots: int) -> float:
    """Of each snapshot's interval."""
    return 1 - (1 - LEVEL) / max(1, num_snapshots)


def metric_level(num_snapshots: int, num_metrics: int) -> float:
    """Of each interval of a compared metric."""
    return 1 - METRICS_ERROR / max(1, num_snapshots * num_metrics)
