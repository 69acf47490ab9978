"""`metrics.csv` and `best.json`, derived from the results alone; whoever holds the lock replaces them.

Where the stop rule may act by itself, it acts here: a rebuild comes with every new result.
"""

from __future__ import annotations

import logging

from filelock import FileLock

from evaluator.selection import confirmation, held_out_losses, ranking, stop_rule
from evaluator.selection.ranking import Estimate, Ranking, Summary
from shared.data.references import further
from shared.run_folder import requests
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.records import Advice, Anchors, Best, Confirmation, EvaluationResult, Interval, Measured
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import Value, read_rows, write_rows

log = logging.getLogger(__name__)

STOP_RULE = "stop rule"
"""Who asks, in a request of ours."""


def publish_descriptions(run: RunDir, metrics: MetricDescriptions) -> bool:
    """Say in the run folder what the numbers of this evaluator mean; True where it said something else.

    The tables follow it from the next rebuild on.
    """
    with FileLock(run.metrics_lock):
        if run.metric_descriptions.is_file() and run.metric_descriptions.read_bytes() == metrics.to_json():
            return False
        metrics.write(run.metric_descriptions)
        return True


class ResultsTable:
    """Keeps what it has read: a result never changes, but a skipped one gives way to one that was asked for."""

    def __init__(self, run: RunDir) -> None:
        config = run.read_config()
        self._run, self._stop, self._validates = run, config.stop, config.train.validation_steps is not None
        self._confirms = bool(further(config, run.read_record()))
        self._results: dict[int, EvaluationResult] = {}

    def rebuild(self) -> Ranking:
        """Read new results, rank them all, replace both files; ask for a stop where the rule is `auto` and says so."""
        with FileLock(self._run.metrics_lock):
            final = {step for step, result in self._results.items() if result.status != "skipped"}
            for step in sorted(steps_in(self._run.evaluations) - final):
                result = self._run.read_result(step)
                if result:
                    self._results[step] = result
            metrics = self._run.read_metric_descriptions()
            found = self._evaluate(metrics)
            advice = stop_rule.advise_stop(found, self._stop.rule, self._stop.patience, self._stop.min_snapshots)
            best = self._best(found, advice)
            if best:  # before the rows: whoever sees a step in metrics.csv finds a verdict that has weighed it
                best.write(self._run.best)
            summaries = {summary.step: summary for summary in found.summaries}
            header = metrics.header
            rows = [self._row(result, summaries.get(step), header) for step, result in sorted(self._results.items())]
            write_rows(self._run.metrics_csv, header, rows)
        if advice.action == "stop":
            _ask_to_stop(self._run, advice)
        return found

    def is_current(self) -> bool:
        """Whether metrics.csv lists every result there is."""
        return steps_in(self._run.evaluations) == {int(row["step"]) for row in read_rows(self._run.metrics_csv)}

    def _evaluate(self, metrics: MetricDescriptions) -> Ranking:
        evaluated = {step: result.samples for step, result in self._results.items() if result.status == "ok"}
        validations = held_out_losses.read(self._run.path / "validation.csv")
        return ranking.rank(evaluated, metrics, anchors=self._anchors(), validations=validations)

    def _best(self, found: Ranking, advice: Advice) -> Best | None:
        first = found.best
        if first is None:
            return None
        confirmed = self._confirmation(found)
        selection = first if confirmed is None or confirmed.agrees else found.selection_of(confirmed.step)
        summaries = {summary.step: summary for summary in found.summaries}
        shipped, latest = summaries[selection.step], found.candidates[-1]
        return Best(
            step=selection.step,
            snapshot=self._run.snapshot(selection.step).relative_to(self._run.path).as_posix(),
            reason=f"{selection.reason} {confirmed.reason}" if confirmed else selection.reason,
            better_than_base=(confirmed or first).better_than_base,
            composite=_interval(selection.composite),
            metrics=dict(shipped.means),
            deltas={metric: within for metric, delta in selection.deltas.items() if (within := _interval(delta))},
            num_evaluated=selection.num_evaluated,
            anchors=self._anchors(summaries[0]),
            skill={loss: within for loss, skill in shipped.skills.items() if (within := _measured(skill))},
            signals=shipped.signals,
            latest_step=latest.step,
            latest_signals=latest.signals,
            advice=advice,
            finalists=confirmation.finalists(found) if self._confirms else (),
            confirmation=confirmed,
        )

    def _anchors(self, base: Summary | None = None) -> dict[str, Anchors]:
        """Loss → the ends of its scale, with step 0's own place on it once that is evaluated."""
        result = self._results.get(0)
        means = base.means if base else {}
        return {
            loss: ends.model_copy(update={"step_0": means.get(loss)})
            for loss, ends in (result.anchors if result else {}).items()
        }

    def _confirmation(self, found: Ranking) -> Confirmation | None:
        """From `confirmations/step-N/result.json`, once every finalist has one."""
        steps = confirmation.finalists(found)
        results = {step: self._run.read_result(step, "confirmations") for step in (0, *steps)}
        evaluated = {step: result.samples for step, result in results.items() if result and result.status == "ok"}
        return confirmation.confirm(found.best, steps, evaluated, found.metrics) if found.best else None

    def _row(self, result: EvaluationResult, summary: Summary | None, header: tuple[str, ...]) -> dict[str, Value]:
        """One line of metrics.csv; what could not be computed stays blank, its reason beside it."""
        cells = summary.row() if summary else {}
        reasons = [result.reason, *(f"{column}: {why}" for column, why in result.missing.items())]
        if self._validates and summary and not summary.validated:
            reasons.append("val_loss: the trainer has not validated at this step")
        return {
            **{column: value for column, value in cells.items() if column in header},
            "step": result.step,
            "epoch": result.training.get("epoch"),
            "total_loss": result.training.get("loss"),
            "learning_rate": result.training.get("learning_rate"),
            "timestamp": result.created,
            "status": result.status,
            "reason": "; ".join(filter(None, reasons)),
            "signals": " ".join(summary.raised) if summary else None,
            "evaluation_seconds": round(sum(result.seconds.values()), 3),
        }


def _ask_to_stop(run: RunDir, advice: Advice) -> None:
    """Once in a run: who resumes it has overruled the rule."""
    asked_before = any(request.by == STOP_RULE for request in requests.requests(run))
    if not asked_before and is_alive(read_status(run, "trainer")):
        requests.submit_stop(run, by=STOP_RULE)
        log.info("the stop rule asked the trainer to stop: %s", advice.reason)


def _interval(estimate: Estimate) -> Interval | None:
    if estimate.low is None or estimate.high is None:
        return None
    return Interval(delta=estimate.mean, low=estimate.low, high=estimate.high)


def _measured(estimate: Estimate) -> Measured | None:
    if estimate.low is None or estimate.high is None:
        return None
    return Measured(value=estimate.mean, low=estimate.low, high=estimate.high)
