"""`python -m evaluator.replay RUN`: the verdict on a run again, from its published numbers and votes alone.

It reads config.toml, run.json, metrics.json, validation.csv, votes/ and every result.json, and needs neither torch nor
the pictures, the snapshots or the data set. The same folder gives the same bytes. Nothing is written, except by
`--write`: metrics.csv and best.json, as an evaluator would. So votes count where no evaluator is at work any more.
"""

from __future__ import annotations

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.table import Table

from evaluator.results_table import ResultsTable, ending, read_evidence
from evaluator.selection.ranking import Preference, Ranking
from evaluator.selection.record import interval
from evaluator.selection.summary import Summary
from evaluator.selection.trend import MIN_SMOOTHED
from evaluator.selection.verdict import Verdict, decide
from evaluator.vote_lines import vote_lines
from shared.errors import ConfigError, exit_code_of
from shared.run_folder import pending
from shared.run_folder.averages import label
from shared.run_folder.file_to_ship import why_not_shippable
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.phrase import Unit, in_unit
from shared.run_folder.records.best import Best, Interval, Signal
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.record import SCHEMA_MAJOR, Record
from shared.run_folder.run_dir import RunDir, open_run

NOT_RECOMMENDED = 4
"""Exit code: every snapshot fails a guard or shows a sign of overfitting."""
NO_VERDICT = 3
"""Exit code: step 0, or every snapshot, has no evaluation yet, so nothing can be compared; or no metric ranks the
snapshots, and nobody has voted."""


SMOOTHED = (
    "smoothed: the composite, smoothed over all snapshots; the choice goes by it. composite: of the snapshot by itself."
)
NOT_SMOOTHED = "composite: the choice goes by it."
COLUMNS = (
    "Negative is better than step 0. 95 % interval: it holds for all snapshots at once, as those in the reason do; "
    "wholly below 0 is surely better. behind best: the difference to the best one that may be chosen, with such an "
    "interval; wholly above 0 is surely worse. signs: of overfitting."
)


class SnapshotReplay(BaseModel):
    """One row of metrics.csv, as it follows from the pictures' numbers. Intervals hold for all snapshots at once."""

    model_config = ConfigDict(frozen=True)

    step: int = Field(description="0 is the base model.")
    status: str = Field(description="ok, failed or skipped.")
    num_prompts: int = Field(default=0, description="Prompts behind the composite.")
    metrics: dict[str, float] = Field(default_factory=dict, description="Column → mean over prompts.")
    deltas: dict[str, Interval] = Field(default_factory=dict, description="Metric → paired difference to step 0.")
    composite: Interval | None = Field(default=None, description="Not smoothed; wholly below 0 is surely better.")
    smoothed: float | None = Field(
        default=None, description="The composite, smoothed over all snapshots: what the choice goes by."
    )
    behind: Interval | None = Field(
        default=None,
        description="Smoothed difference to the best one that may be chosen, with an interval that holds for all of "
        "them at once: above 0 is surely worse.",
    )
    eligible: bool = Field(default=False, description="May be chosen.")
    deleted: bool = Field(default=False, description="Its weights were deleted (train.snapshots_total_limit).")
    signals: tuple[Signal, ...] = Field(default=(), description="Of overfitting.")


class Replay(Record):
    """What `run.py verdict RUN --json` prints."""

    schema_version: str = Field(default=f"{SCHEMA_MAJOR}.6", alias="schema")
    run_id: str
    name: str
    unit: Unit = Field(description="What `step` counts.")
    weights: dict[str, float] = Field(description="Loss in use → its share of the composite.")
    scales: dict[str, float] = Field(description="Metric → what counts as one unit of it, from step 0.")
    best: Best | None = Field(description="As best.json, without `created`; None: nothing can be compared yet.")
    why_not_shippable: str = Field(
        default="", description="Why the file of the best one is not the LoRA that was evaluated; empty: it is."
    )
    vote_problems: tuple[str, ...] = Field(default=(), description="Why lines of the votes' files do not count.")
    snapshots: tuple[SnapshotReplay, ...]

    def to_json(self) -> bytes:
        """Without the time it was found at."""
        tree = self.model_dump(mode="json", by_alias=True, exclude={"best": {"created"}})
        return (json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def replay(run: RunDir, weights: Mapping[str, float] | None = None, prefer: Preference | None = None) -> Replay:
    """The verdict on a run folder. weights: by metric, in place of those in metrics.json; prefer: of the run's own.

    Raises:
        ConfigError: a weight names a metric that cannot be weighed.
    """
    config, record, evidence = run.read_config(), run.read_record(), read_evidence(run)
    if prefer:
        config = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"prefer": prefer})})
    if weights:
        evidence = replace(evidence, metrics=_weighed(evidence.metrics, weights))
    verdict = decide(evidence, config, ending(config))
    return Replay(
        run_id=record.run_id,
        name=record.name,
        unit=record.unit,
        weights=verdict.ranking.weights,
        scales=verdict.ranking.scales,
        best=verdict.best,
        why_not_shippable=why_not_shippable(run, verdict.best.step) if verdict.best else "",
        vote_problems=evidence.votes.problems,
        snapshots=_snapshots(verdict, evidence.evaluations),
    )


def _weighed(metrics: MetricDescriptions, weights: Mapping[str, float]) -> MetricDescriptions:
    able = ", ".join(column.name for column in metrics.weighable)
    try:
        weighed = metrics.weighed(weights)
    except KeyError as error:
        raise ConfigError(f"--weights names {error.args[0]}, which cannot be weighed", f"name some of {able}") from None
    if not weighed.losses:
        raise ConfigError("--weights leaves no metric with a weight", f"give one of {able} a weight above 0")
    return weighed


def _snapshots(verdict: Verdict, results: Mapping[int, EvaluationResult]) -> tuple[SnapshotReplay, ...]:
    ranking = verdict.ranking
    summaries = {summary.step: summary for summary in ranking.summaries}
    smoothed = () if ranking.is_unmeasured else ranking.candidates
    levels = {summary.step: ranking.trend.level(summary.step) for summary in smoothed}
    eligible = {summary.step for summary in ranking.eligible}
    behind = {} if ranking.is_unmeasured else ranking.behind
    return tuple(
        SnapshotReplay(
            step=step,
            status=result.status,
            **_numbers(ranking, summaries.get(step)),
            smoothed=levels.get(step),
            behind=interval(behind.get(step)),
            eligible=step in eligible,
            deleted=step in ranking.deleted,
        )
        for step, result in results.items()
    )


def _numbers(ranking: Ranking, summary: Summary | None) -> dict[str, Any]:
    if summary is None:
        return {}
    deltas = {metric: interval(delta) for metric, delta in ranking.deltas(summary).items()}
    return {
        "num_prompts": len(summary.composite),
        "metrics": summary.means,
        "deltas": {metric: delta for metric, delta in deltas.items() if delta},
        "composite": interval(ranking.composite_of(summary)),
        "signals": summary.signals,
    }


def show(verdict: Replay, console: Console) -> None:
    """For a person: every snapshot in a line, then what to ship and why, then what people preferred."""
    best, smooths = verdict.best, sum(row.smoothed is not None for row in verdict.snapshots) >= MIN_SMOOTHED
    table = Table(title=f"Verdict on {verdict.name}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in (verdict.unit, *(["smoothed"] if smooths else []), "composite", "95 % interval", "behind best"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("signs", ""):
        table.add_column(heading, overflow="fold")
    for row in verdict.snapshots:
        smoothed = ["" if row.smoothed is None else f"{row.smoothed:+.3f}"] if smooths else []
        composite = f"{row.composite.delta:+.3f}" if row.composite else ""
        signs = ", ".join(signal.name for signal in row.signals if signal.raised)
        numbers = (*smoothed, composite, _range(row.composite), _range(row.behind))
        table.add_row(label(row.step), *numbers, signs, in_unit(_remark(row, verdict), verdict.unit))
    console.print(table)
    if best:
        if best.ranked:
            about = f"{SMOOTHED if smooths else NOT_SMOOTHED} {COLUMNS}"
            console.print(in_unit(about, verdict.unit), markup=False)
        console.print(best.reason, markup=False)
        for caution in _cautions(verdict, best):
            console.print(f"Caution: {caution}", markup=False)
        if best.advice and best.advice.reason:
            console.print(f"Advice to stop: {best.advice.reason}.", markup=False)
        for line in vote_lines(best.votes, verdict.unit) if best.votes else ():
            console.print(line, markup=False)
    for problem in verdict.vote_problems:
        console.print(f"Not counted: {problem}", markup=False)


def _cautions(verdict: Replay, best: Best) -> Iterator[str]:
    if verdict.why_not_shippable:
        name = f"{verdict.unit.capitalize()} {label(best.step)}"
        yield f"{name} cannot be shipped or exported: {verdict.why_not_shippable}"
    yield from map(str, best.cautions)


def _remark(row: SnapshotReplay, verdict: Replay) -> str:
    best = verdict.best
    if best and row.step == best.step:
        if verdict.why_not_shippable:
            return "the best, but its file is not there as it was evaluated"
        if best.flagged:
            return "the best of those flagged" if best.is_chosen else "flagged, as every other one"
        if not best.ranked:
            return _unranked_remark(best)
        return "ship this" if best.better_than_base else "the best, but not shown to be better than step 0"
    if best and row.step in best.surer:
        return "surely better than step 0"
    if row.deleted:
        return "weights deleted" if row.status == "ok" else f"{row.status}, weights deleted"
    return "" if row.status == "ok" else row.status


def _unranked_remark(best: Best) -> str:
    if best.votes is None:
        return "the last that may be shipped; nothing ranks it"
    return "ship this, by votes" if best.better_than_base else "preferred by votes, not shown to be better than step 0"


def _range(within: Interval | None) -> str:
    return f"{within.low:+.2f} … {within.high:+.2f}" if within else ""


def _without_numbers(verdict: Replay) -> Iterator[str]:
    """Why no snapshot that was evaluated has a composite."""
    shown = [row for row in verdict.snapshots if row.status == "ok" and row.step]
    blank = [loss for loss in verdict.weights if not any(loss in row.deltas for row in shown)]
    why = "no two prompts have numbers of every metric that is weighed"
    if blank:
        why = f"{' and '.join(blank)} {'has' if len(blank) == 1 else 'have'} no number for two prompts"
    without = " ".join(f"--weights {loss}=0" for loss in blank) or "--weights METRIC=0"
    yield f"No snapshot can be compared with step 0: {why}. Leave out what lacks numbers, as {without} does here."


def remarks(run: RunDir, verdict: Replay, *, as_the_run_says: bool) -> Iterator[str]:
    """What a person should know of the verdict, with cures. as_the_run_says: with its own weights and preference."""
    evaluated = {row.step for row in verdict.snapshots if row.status == "ok"}
    command = f"`python run.py evaluate {run.path}`"
    if 0 not in evaluated:
        yield f"Step 0 has no evaluation, so nothing can be compared with it: run {command}."
    elif not (verdict.weights or as_the_run_says):
        yield "These weights count nothing that was measured: give a weight above 0 to a metric that has numbers."
    elif verdict.best is None and len(evaluated) > 1:
        yield from _without_numbers(verdict)
    elif verdict.best is None:
        yield f"No snapshot can be compared with step 0 yet: run {command}, or wait for the evaluator."
    if waiting := sorted(pending.due(run, run.read_config().evaluation, trainer_lives=False) - {0}):
        yield f"Not evaluated, and so not in this verdict: {', '.join(map(str, waiting))}. {command} evaluates them."
        if evaluated:
            yield (
                "That uses this version and the encoders that are set now. A metric that these compute in another way "
                "than the results so far is then left out for all snapshots (not_counted)."
            )
    written = run.read_best()
    if as_the_run_says and verdict.best and written and written.gist != verdict.best.gist:
        differs = "gives other numbers" if written.step == verdict.best.step else f"names step {label(written.step)}"
        yield (
            f"best.json {differs}: another version of Darkroom wrote it, or it follows from other results or votes. "
            f"`python run.py verdict {run.path} --write` writes it again."
        )


def _code(best: Best | None) -> int:
    if best is None or not best.is_chosen:
        return NO_VERDICT
    return NOT_RECOMMENDED if best.flagged else 0


def parse_weights(text: str) -> dict[str, float]:
    """`metric=0.5,other=0`.

    Raises:
        ConfigError: it is not of this form, a weight is negative, or a metric is named twice.
    """
    weights: dict[str, float] = {}
    twice: list[str] = []
    for part in text.split(","):
        name, _, number = (word.strip() for word in part.partition("="))
        twice += [name] if name in weights else []
        try:
            weights[name] = float(number)
        except ValueError:
            weights[name] = -1
    if twice:
        raise ConfigError(f"--weights names {', '.join(twice)} more than once", "give each metric one weight")
    if wrong := [name for name, weight in weights.items() if not 0 <= weight < float("inf")]:
        raise ConfigError(
            f"--weights gives no weight of 0 or more to {', '.join(map(repr, wrong))}",
            "write them as metric=number,other=number with names from metrics.json",
        )
    return weights


def main() -> int:
    """Read, decide, print."""
    parser = argparse.ArgumentParser(prog="python run.py verdict", description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--weights", default="", help="other weights of the composite, as metric=0.5,…")
    parser.add_argument("--prefer", choices=get_args(Preference), help="in place of evaluation.prefer")
    parser.add_argument(
        "--write", action="store_true", help="also write metrics.csv and best.json, as an evaluator does"
    )
    arguments = parser.parse_args()
    if arguments.write and (arguments.weights or arguments.prefer):
        raise ConfigError(
            "--write writes the verdict by the run's own settings, not by --weights or --prefer",
            "leave --write out, or change evaluation.prefer in the config",
        )
    weights = parse_weights(arguments.weights) if arguments.weights else None
    run = open_run(arguments.run)
    if arguments.write:
        ResultsTable(run).rebuild()
    verdict = replay(run, weights, arguments.prefer)
    code = _code(verdict.best)
    if arguments.json:
        sys.stdout.buffer.write(verdict.to_json())
        return code
    console = Console(highlight=False, soft_wrap=True)
    show(verdict, console)
    for remark in remarks(run, verdict, as_the_run_says=not weights and arguments.prefer is None):
        console.print(in_unit(remark, verdict.unit), markup=False)
    return code


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
