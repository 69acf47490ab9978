"""The record of a sweep, from its journal and its run folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from shared.run_folder.records.interval import Interval
from shared.statistics.paired import estimate
from shared.sweeps import words
from shared.sweeps.record import SettingRecord, SweepRecord, TrialRecord, TrialState
from shared.sweeps.standing import Placed, Standing, standing
from shared.sweeps.study import Asked
from shared.sweeps.sweep_dir import trial_name
from shared.sweeps.sweep_file import Sweep
from shared.sweeps.trial import Trial
from shared.sweeps.yardstick import Yardstick

State = Literal["running", "stopped", "finished", "failed"]


def placed(asked: Sequence[Asked], trials: Mapping[int, Trial], yardstick: Yardstick | None) -> list[Placed]:
    """The trials that are done and compare, by number."""
    found: list[Placed] = []
    for one in asked:
        chosen = yardstick.chosen(trials[one.number].results) if yardstick and one.ending == "done" else None
        if chosen:
            best = trials[one.number].results.best
            found.append(Placed(one.number, one.setting, chosen[1], bool(best and best.flagged)))
    return found


def record(
    sweep: Sweep,
    state: State,
    asked: Sequence[Asked],
    trials: Mapping[int, Trial],
    yardstick: Yardstick | None,
    importance: Mapping[str, float],
    working: Sequence[int] = (),
) -> SweepRecord:
    """Everything that is known by now. working: trials that run at this moment."""
    rows = [_row(one, trials[one.number], yardstick, is_working=one.number in working) for one in asked]
    found = standing(placed(asked, trials, yardstick))
    values = {row.number: row.values for row in rows}
    return SweepRecord(
        name=sweep.name,
        state=state,
        num_trials=sweep.num_trials,
        num_repeats=num_repeats(sweep),
        space={dimension.key: dimension.describe() for dimension in sweep.dimensions},
        trials=tuple(rows),
        settings=tuple(
            SettingRecord(
                values={key: one for key, one in values[setting.first.number].items() if key != "train.seed"},
                trials=tuple(trial.number for trial in setting.trials),
                composite=setting.mean,
                flagged=setting.flagged,
            )
            for setting in found.settings
        ),
        difference=_difference(found),
        sure=found.difference is not None and found.difference.is_below_zero,
        noise=found.noise,
        within_noise=found.within_noise,
        importance=dict(importance),
        sentences=words.sentences(found, rows, explained=bool(importance)),
    )


def num_repeats(sweep: Sweep) -> int:
    """Trials after the search."""
    return sweep.table.finalists * (len(sweep.seeds) - 1)


def _row(one: Asked, trial: Trial, yardstick: Yardstick | None, *, is_working: bool) -> TrialRecord:
    step, total = trial.progress()
    results = trial.results
    best = yardstick.chosen(results) if yardstick else None
    found = estimate(best[1].values()) if best else None
    state: TrialState = one.ending or ("running" if is_working else "waiting")
    return TrialRecord(
        number=one.number,
        run=trial_name(one.number),
        values=dict[str, Any](one.labels),
        seed=one.seed,
        repeats=one.repeats,
        state=state,
        reason=one.reason,
        step=step,
        total=total,
        best_step=best[0] if best else None,
        composite=_interval(found.mean, found.low, found.high) if found else None,
        flagged=bool(results.best and results.best.flagged),
        by_step=yardstick.by_step(results) if yardstick else {},
        seconds=(one.ended - one.started).total_seconds() if one.started and one.ended else None,
    )


def _difference(found: Standing) -> Interval | None:
    gap = found.difference
    return _interval(gap.mean, gap.low, gap.high) if gap else None


def _interval(mean: float, low: float | None, high: float | None) -> Interval | None:
    return None if low is None or high is None else Interval(delta=mean, low=low, high=high)
