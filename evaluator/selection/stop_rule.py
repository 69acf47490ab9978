"""Is going on worth it? Pure: a verdict in, advice with its reason in words out."""

from __future__ import annotations

from typing import Literal

from evaluator.selection.ranking import Ranking
from evaluator.selection.summary import Summary
from shared.run_folder.records import Advice
from shared.statistics.paired import difference


def advise_stop(ranking: Ranking, rule: Literal["off", "advise", "auto"], patience: int, min_snapshots: int) -> Advice:
    """Stop when `patience` snapshots have come since the last one that was progress.

    Progress is a composite whose paired 95 % interval lies below that of the progress before it, at first the base
    model's: slow gains add up until they are sure. Signals of overfitting at the newest snapshot halve the patience:
    what is being learnt by heart does not come back. Nothing is said before `min_snapshots` are evaluated.
    """
    if rule == "off" or len(ranking.candidates) < min_snapshots:
        return Advice(action="continue")
    incumbent, num_since = _last_progress(ranking)
    latest = ranking.candidates[-1]
    if num_since < (-(-patience // 2) if latest.raised else patience):
        return Advice(action="continue")
    since = f"step {incumbent.step}" if incumbent.step else "the base model"
    reason = f"none of the {num_since} snapshots since {since} is distinguishably better"
    change = difference(latest.composite, incumbent.composite)
    if change is not None and change.is_above_zero:
        reason += f", and step {latest.step} is worse"
    evidence = (f"; {signal.name}: {signal.evidence}" for signal in latest.signals if signal.raised)
    return Advice(action="stop" if rule == "auto" else "advise", reason=reason + "".join(evidence))


def _last_progress(ranking: Ranking) -> tuple[Summary, int]:
    """(the last snapshot that was progress, or the base model; how many snapshots came since)."""
    incumbent, num_since = ranking.summaries[0], 0
    for summary in ranking.candidates:
        change = difference(summary.composite, incumbent.composite)
        if change is not None and change.is_below_zero:
            incumbent, num_since = summary, 0
        else:
            num_since += 1
    return incumbent, num_since
