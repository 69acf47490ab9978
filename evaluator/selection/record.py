"""What best.json says of a choice, whether metrics or votes made it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evaluator.selection.ranking import Ranking
from shared.run_folder.averages import is_average
from shared.run_folder.phrase import Phrase
from shared.run_folder.records.best import Best
from shared.run_folder.records.interval import Interval
from shared.run_folder.run_dir import step_name
from shared.statistics.paired import Estimate


def recorded(found: Ranking, step: int, sentences: Sequence[Phrase], **more: Any) -> Best:
    """The record of this candidate.

    Args:
        sentences: the reason.
        more: fields of `Best` that the ranking does not know.
    """
    chosen, latest = next(one for one in found.candidates if one.step == step), found.snapshots[-1]
    return Best(
        step=step,
        snapshot=f"{'averages' if is_average(step) else 'snapshots'}/{step_name(step)}",
        reason=" ".join(map(str, sentences)),
        reason_phrases=tuple(sentences),
        metrics=dict(chosen.means),
        deltas={metric: within for metric, delta in found.deltas(chosen).items() if (within := interval(delta))},
        num_evaluated=len(found.candidates),
        passed_over=found.passed_over,
        objections=found.objections,
        signals=chosen.signals,
        latest_step=latest.step,
        latest_signals=latest.signals,
        deleted=tuple(sorted(found.deleted & {one.step for one in found.candidates})),
        **more,
    )


def interval(estimate: Estimate | None) -> Interval | None:
    """As records hold it; None without an interval."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return None
    return Interval(delta=estimate.mean, low=estimate.low, high=estimate.high)
