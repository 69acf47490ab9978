"""`metrics.csv` and `best.json`, derived from the results alone; whoever holds the lock replaces them.

Where the stop rule may act by itself, it acts here: a rebuild comes with every new result.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from evaluator.former_columns import keeping
from evaluator.retention import retain
from evaluator.selection import held_out_losses
from evaluator.selection.ranking import Ranking
from evaluator.selection.summary import Summary
from evaluator.selection.verdict import Ending, Evidence, decide
from shared.config.schema import Config
from shared.run_folder import requests
from shared.run_folder.averages import is_average
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.records.best import Advice
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.run_dir import ResultKind, RunDir, steps_in, strength_kind, strengths_in
from shared.run_folder.tables import Value, listed, read_rows, write_rows
from shared.run_folder.votes import pictures_of, read_votes

log = logging.getLogger(__name__)

REFERENCE = "reference"
"""What an evaluation of another trainer's LoRAs compares with: nothing is held out of a data set there."""
TWO_WAYS = "another version or encoder computed it for some snapshots, so that these numbers cannot be compared"
STOP_RULE = "stop rule"
"""Who asks, in a request of ours."""


def publish_descriptions(run: RunDir, metrics: MetricDescriptions) -> bool:
    """Say in the run folder what the numbers of this evaluator mean; True where it said something else.

    The tables follow it from the next rebuild on. What another version computed stays in them.
    """
    if run.read_record().imported:
        metrics = metrics.model_copy(update={"words": metrics.words.model_copy(update={"pair": REFERENCE})})
    with FileLock(run.metrics_lock):
        filled = {name for row in read_rows(run.metrics_csv) for name, cell in row.items() if cell}
        metrics = keeping(metrics, run.read_metric_descriptions(), filled)
        if run.metric_descriptions.is_file() and run.metric_descriptions.read_bytes() == metrics.to_json():
            return False
        metrics.write(run.metric_descriptions)
        return True


def read_evidence(run: RunDir, known: Mapping[int, EvaluationResult] | None = None) -> Evidence:
    """Everything a verdict on this run follows from. known: results that need not be read again."""
    metrics = run.read_metric_descriptions()
    evaluations = {**(known or {}), **_results(run, "evaluations", besides=known or ())}
    votes = read_votes(run, pictures_of({step: result.samples for step, result in evaluations.items()}))
    drawn = {strength: _results(run, strength_kind(strength)) for strength in strengths_in(run)}
    again = _results(run, "confirmations")
    record = run.read_record()
    return Evidence(
        dict(sorted(evaluations.items())),
        again,
        None if record.imported else held_out_losses.read(run.validation_csv, run.validation_examples_csv),
        metrics,
        votes,
        drawn,
        imported=record.imported is not None,
        guessed=_guessed(run) if record.imported else {},
        unit=record.unit,
        deleted=frozenset(run.deleted_snapshots()),
        num_seen=record.dataset.num_seen,
    )


def ending(config: Config) -> Ending:
    """What is evaluated when training is over. What the config of a run does not name is not: an older version made the
    run, and what it has finished stays finished."""
    settings = config.evaluation
    named = settings.model_fields_set
    return Ending(
        num_averages=settings.averages if "averages" in named else 0,
        confirms=settings.confirm_prompts > 0,
        num_finalists=settings.finalists,
        strengths=settings.strengths if "strengths" in named else (),
    )


def _guessed(run: RunDir) -> dict[int, str]:
    """Step that nothing tells → its file, of another trainer."""
    details = {step: manifest.details for step, manifest in run.published_snapshots().items()}
    return {step: str(one.get("file", "")) for step, one in details.items() if one.get("number") == "guessed"}


class ResultsTable:
    """Keeps what it has read: a result never changes, but a skipped one gives way to one that was asked for."""

    def __init__(self, run: RunDir, *, retains: bool = False) -> None:
        """retains: delete the weights of snapshots beyond `train.snapshots_total_limit` after each rebuild."""
        config = run.read_config()
        self._run, self._config, self._retains = run, config, retains
        self._validates = config.train.validation_steps is not None and config.data.num_validation > 0
        self._results: dict[int, EvaluationResult] = {}
        self._weighed: dict[Path, int] | None = None
        self._told: set[str] = set()

    def rebuild(self) -> Ranking:
        """Read new results, rank them all, replace both files; ask for a stop where the rule is `auto` and says so."""
        with FileLock(self._run.metrics_lock):
            self._weighed = _further(self._run)
            evidence = read_evidence(self._run, self._results)
            for problem in evidence.votes.problems:
                if problem not in self._told:
                    log.warning("not counted: %s", problem)
            self._told.update(evidence.votes.problems)
            self._results = {step: found for step, found in evidence.evaluations.items() if found.status != "skipped"}
            verdict = decide(evidence, self._config, ending(self._config))
            if verdict.best:  # before the rows: whoever sees a step in metrics.csv finds a verdict that has weighed it
                verdict.best.write(self._run.best)
            summaries = {summary.step: summary for summary in verdict.ranking.summaries}
            header = evidence.metrics.header
            found = verdict.ranking
            two_ways = [column.name for column in verdict.two_ways]
            rows = {
                step: self._row(result, summaries.get(step), found, two_ways)
                for step, result in evidence.evaluations.items()
            }
            if averages := [row for step, row in rows.items() if is_average(step)]:
                write_rows(self._run.averages_csv, header, averages)
            write_rows(self._run.metrics_csv, header, [row for step, row in rows.items() if not is_average(step)])
            if self._retains:
                retain(self._run, self._config.train.snapshots_total_limit, verdict.ranking)
        if verdict.advice.action == "stop":
            _ask_to_stop(self._run, verdict.advice)
        return verdict.ranking

    def rebuild_if_free(self) -> bool:
        """Rebuild, unless another evaluator does it at this moment; whether it was done."""
        lock = FileLock(self._run.metrics_lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        lock.release()
        self.rebuild()
        return True

    def is_current(self) -> bool:
        """Whether the tables list every result there is, and whatever else the verdict rests on was there when this
        process rebuilt them last."""
        if self._weighed is not None and self._weighed != _further(self._run):
            return False
        return steps_in(self._run.evaluations) == listed(self._run.metrics_csv) | listed(self._run.averages_csv)

    def _row(
        self, result: EvaluationResult, summary: Summary | None, ranking: Ranking, two_ways: Sequence[str]
    ) -> dict[str, Value]:
        """One line of metrics.csv; what could not be computed stays blank, its reason beside it.

        two_ways: columns whose numbers some snapshots have by another method.
        """
        cells, header = ranking.row(summary) if summary else {}, frozenset(ranking.metrics.header)
        blank: dict[str, list[str]] = {}
        for column, why in result.missing.items():
            blank.setdefault(why, []).append(column)
        reasons = [result.reason, *(f"{', '.join(columns)}: {why}" for why, columns in blank.items())]
        if summary and (apart := [name for name in two_ways if name in summary.means]):
            reasons.append(f"differences of {', '.join(apart)}: {TWO_WAYS}")
        if self._validates and summary and not summary.validated and not is_average(summary.step):
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
            "sure": (" ".join(ranking.sure(summary)) or "none") if summary and summary.step else None,
            "evaluation_seconds": round(sum(result.seconds.values()), 3),
        }


def _ask_to_stop(run: RunDir, advice: Advice) -> None:
    """Once in a run: who resumes it has overruled the rule."""
    asked_before = any(request.by == STOP_RULE for request in requests.requests(run))
    if not asked_before and is_alive(read_status(run, "trainer")):
        requests.submit_stop(run, by=STOP_RULE)
        log.info("the stop rule asked the trainer to stop: %s", advice.reason)


def _further(run: RunDir) -> dict[Path, int]:
    """What the verdict rests on beside evaluations: how much each voter has written, to which lines are only ever
    added; how many results of the same snapshots there are in each of the other folders; how many snapshots have lost
    their weights."""
    votes = {path: path.stat().st_size for path in run.votes.glob("*.jsonl") if path.is_file()}
    folders = [run.confirmations, *run.strengths.glob("*")]
    gone = {run.deleted: len(run.deleted_snapshots())} if run.deleted.is_dir() else {}
    return votes | {folder: len(steps_in(folder)) for folder in folders} | gone


def _results(run: RunDir, kind: ResultKind, besides: Collection[int] = ()) -> dict[int, EvaluationResult]:
    steps = sorted(steps_in(run.path / kind) - set(besides))
    return {step: result for step in steps if (result := run.read_result(step, kind))}
