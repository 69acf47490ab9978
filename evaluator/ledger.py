"""`metrics.csv` and `best.json`, derived from the results alone; whoever holds the lock replaces them."""

from __future__ import annotations

from filelock import FileLock

from evaluator import verdict
from evaluator.verdict import Estimate, Summary, Verdict
from shared.records import Best, EvaluationResult, Interval
from shared.rundir import RunDir, steps_in
from shared.tables import METRIC_COLUMNS, Value, write_rows


class Ledger:
    """Keeps what it has read: results never change."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._results: dict[int, EvaluationResult] = {}

    def rebuild(self) -> Verdict:
        """Read new results, judge them all, replace both files."""
        with FileLock(self._run.metrics_lock):
            for step in sorted(steps_in(self._run.evaluations) - self._results.keys()):
                result = self._run.read_result(step)
                if result:
                    self._results[step] = result
            judged = {step: result.samples for step, result in self._results.items() if result.status == "ok"}
            verdict_now = verdict.judge(judged)
            summaries = {summary.step: summary for summary in verdict_now.summaries}
            best = self._best(verdict_now, summaries)
            if best:  # before the rows: whoever sees a step in metrics.csv finds a verdict that has weighed it
                best.write(self._run.best)
            rows = [_row(result, summaries.get(step)) for step, result in sorted(self._results.items())]
            write_rows(self._run.metrics_csv, METRIC_COLUMNS, rows)
        return verdict_now

    def _best(self, verdict_now: Verdict, summaries: dict[int, Summary]) -> Best | None:
        best = verdict_now.best
        if best is None:
            return None
        return Best(
            step=best.step,
            snapshot=self._run.snapshot(best.step).relative_to(self._run.path).as_posix(),
            reason=best.reason,
            better_than_base=best.better_than_base,
            composite=_interval(best.composite),
            metrics=dict(summaries[best.step].means),
            deltas={metric: found for metric, delta in best.deltas.items() if (found := _interval(delta))},
            num_evaluated=best.num_evaluated,
        )


def _row(result: EvaluationResult, summary: Summary | None) -> dict[str, Value]:
    """One line of metrics.csv; what could not be computed stays blank, its reason beside it."""
    cells = summary.row() if summary else {}
    reasons = [result.reason, *(f"{column}: {why}" for column, why in result.blanks.items())]
    return {
        **{column: value for column, value in cells.items() if column in METRIC_COLUMNS},
        "step": result.step,
        "epoch": result.training.get("epoch"),
        "total_loss": result.training.get("loss"),
        "learning_rate": result.training.get("learning_rate"),
        "timestamp": result.created,
        "status": result.status,
        "reason": "; ".join(filter(None, reasons)),
        "evaluation_seconds": round(sum(result.seconds.values()), 3),
    }


def _interval(estimate: Estimate) -> Interval | None:
    if estimate.low is None or estimate.high is None:
        return None
    return Interval(delta=estimate.mean, low=estimate.low, high=estimate.high)
