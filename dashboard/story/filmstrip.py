"""Every snapshot in order: what became of it, what is being evaluated, what is still to come."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from dashboard.data.sure import is_sure
from dashboard.story.evidence import Evidence
from dashboard.story.gains import num_won
from dashboard.story.pictures import sample_urls, typical_pair
from dashboard.story.snapshots import signs_of
from dashboard.story.wording import about, capital, of_units, sentence
from dashboard.text.language import say
from dashboard.text.phrases import told
from shared.run_folder.averages import is_average, label
from shared.run_folder.pending import BASE_MODEL, Work
from shared.run_folder.records.evaluation_result import EvaluationResult

State = Literal["done", "evaluating", "waiting", "planned", "failed", "skipped"]
Mark = Literal["better", "same", "worse", ""]
MAX_PLANNED = 12
"""Cells of snapshots to come: the next ones and the last."""


@dataclass(frozen=True)
class Cell:
    """One snapshot; step 0 is the base model."""

    step: int
    label: str
    """The step as people read it; of an average of snapshots, from which to which."""
    state: State
    thumbnail: str
    """URL of its picture of the typical prompt; empty where there is none."""
    mark: Mark
    """Against the base model, as far as the evaluator is sure: `same` is no clear difference."""
    wins: int | None
    """Prompts on which it is better than the base model."""
    of: int | None
    """Prompts compared."""
    words: str
    """All of it in a sentence, for who does not see the marks."""
    best: bool = False
    flagged: bool = False
    """May not be shipped, or shows a sign of overfitting."""
    starred: bool = False
    """By a person."""
    averaged: bool = False
    """Its weights are a moving average, or it is the average of several snapshots."""
    voted: bool = False
    """People have compared it with others."""
    eta_seconds: float | None = None
    """Until its result."""
    eta: str = ""


def filmstrip(evidence: Evidence) -> tuple[Cell, ...]:
    """In the order of the steps, the base model first, averages of snapshots last."""
    strip = _Strip(evidence)
    planned = evidence.backlog.planned
    if len(planned) > MAX_PLANNED:
        planned = (*planned[: MAX_PLANNED - 1], planned[-1])
    known = {BASE_MODEL, *evidence.reader.snapshot_steps(), *evidence.reader.evaluated_steps()}
    return tuple(strip.cell(step) for step in (*sorted({*known, *planned}), *evidence.reader.averages()))


class _Strip:
    """What all cells share."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._planned = set(evidence.backlog.planned)
        self._at_work = set(evidence.backlog.steps(evidence.backlog.at_work))
        self._starred: Collection[int] = set(noted.starred if (noted := evidence.reader.notes()) else ())
        votes = evidence.best.votes if evidence.best else None
        self._voted = {one.step: one for one in votes.steps if one.won + one.lost + one.equal} if votes else {}
        self._is_averaged = bool(evidence.reader.config.train.ema_decay)
        self._pair = typical_pair(evidence)
        self._deleted = evidence.reader.deleted_steps()

    def cell(self, step: int) -> Cell:
        evidence, best = self._evidence, self._evidence.best
        row, result = evidence.rows.get(step, {}), evidence.results.get(step)
        state, mark = self._state(step), _mark(row) if result and step != BASE_MODEL else ""
        better = evidence.gains.of(result) if result and step != BASE_MODEL else {}
        won, all_of_them = num_won(better), len(better)
        seconds = evidence.backlog.ends.get(Work(step))
        eta = say("in {time}", time=about(seconds)) if seconds is not None else ""
        is_best = best is not None and best.step == step and best.is_chosen
        signs = [say(name) for name in signs_of(row)]
        is_averaged = is_average(step) or (self._is_averaged and step != BASE_MODEL)
        return Cell(
            step,
            label(step),
            state,
            self._thumbnail(step, result),
            mark,
            won if better else None,
            all_of_them or None,
            sentence(
                capital(evidence.base) if step == BASE_MODEL else say("Step {step}", step=step),
                say("best so far") if is_best and not evidence.is_over else say("best") if is_best else "",
                self._what(step, state, mark, eta),
                say("better on {won}", won=of_units(won, all_of_them, evidence.unit)) if better else "",
                say("signs of overfitting: {names}", names=", ".join(signs)) if signs else self._objection(step),
                say("averaged weights") if is_averaged else "",
                say("weights deleted") if step in self._deleted else "",
                say("starred") if step in self._starred else "",
                self._votes(step),
            ),
            best=is_best,
            flagged=bool(signs) or (best is not None and step in best.passed_over),
            starred=step in self._starred,
            averaged=is_averaged,
            voted=step in self._voted,
            eta_seconds=None if seconds is None else float(5 * round(seconds / 5)),
            eta=eta,
        )

    def _objection(self, step: int) -> str:
        """Why it may not be shipped."""
        best = self._evidence.best
        if best is None or step not in best.passed_over:
            return ""
        reason = told([best.objections.get(step)], best.passed_over[step])
        return say("passed over: it {reason}", reason=reason)

    def _votes(self, step: int) -> str:
        voted = self._voted.get(step)
        return say("preferred in {won} of {count} votes", won=voted.won, count=voted.won + voted.lost) if voted else ""

    def _state(self, step: int) -> State:
        if step in self._planned:
            return "planned" if step not in self._evidence.backlog.left_out else "skipped"
        if step in self._evidence.results:
            return "done"
        if step in self._at_work:
            return "evaluating"
        return self._evidence.without[step][0] if step in self._evidence.without else "waiting"

    def _what(self, step: int, state: State, mark: Mark, eta: str) -> str:
        if state == "done":
            marks = {"better": say("better (95 %)"), "same": say("no clear difference"), "worse": say("worse (95 %)")}
            return marks.get(mark, "")
        reason = self._evidence.without[step][1] if step in self._evidence.without else ""
        said = {
            "evaluating": say("being evaluated, result {eta}", eta=eta) if eta else say("being evaluated"),
            "waiting": say("waits to be evaluated, result {eta}", eta=eta) if eta else say("waits to be evaluated"),
            "planned": say("not trained yet, result {eta}", eta=eta) if eta else say("not trained yet"),
            "failed": say("could not be evaluated: {reason}", reason=reason),
            "skipped": say("skipped: {reason}", reason=reason) if reason else say("will not be evaluated"),
        }
        return said[state]

    def _thumbnail(self, step: int, result: EvaluationResult | None) -> str:
        """Of the same prompt and seed in every cell, where it was drawn."""
        if result is None or self._pair is None:
            return ""
        drawn = [sample for sample in result.samples if sample.image]
        same = (sample for sample in drawn if (sample.prompt_id, sample.seed) == self._pair)
        sample = next(same, drawn[0] if drawn else None)
        return sample_urls(self._evidence.reader, step, sample)[1] if sample else ""


def _mark(row: dict[str, object]) -> Mark:
    """Of the composite: better or worse only where its interval, beside those of all other snapshots, excludes zero."""
    low, high = row.get("composite_low"), row.get("composite_high")
    if not (isinstance(low, float) and isinstance(high, float) and isfinite(low + high)):
        return ""
    if not is_sure(row.get("sure"), "composite") or low <= 0 <= high:
        return "same"
    return "better" if high < 0 else "worse"
