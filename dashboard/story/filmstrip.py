"""Every snapshot in order: what became of it, what is being evaluated, what is still to come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dashboard.data.notes import read_notes
from dashboard.data.reader import RunReader
from dashboard.server.files import picture_url
from dashboard.text.language import say
from shared.run_folder.pending import BASE_MODEL
from shared.run_folder.run_dir import step_name

State = Literal["done", "evaluating", "waiting", "planned", "failed", "skipped"]


@dataclass(frozen=True)
class Cell:
    """One snapshot; step 0 is the base model."""

    step: int
    state: State
    thumbnail: str
    """URL of its picture of the typical prompt; empty where there is none."""
    mark: Literal["better", "same", "worse", ""]
    """Against the base model, as far as the evaluator is sure: `same` is no clear difference."""
    wins: int | None
    """Prompts on which it is better than the base model."""
    of: int | None
    """Prompts compared."""
    words: str
    """All of it in a sentence, for those who do not see the marks."""
    best: bool = False
    flagged: bool = False
    """May not be shipped, or shows a sign of overfitting."""
    starred: bool = False
    """By a person."""
    averaged: bool = False
    """Its weights are an average."""
    eta_seconds: float | None = None
    """Until its evaluation ends."""
    eta: str = ""


def filmstrip(reader: RunReader) -> tuple[Cell, ...]:
    """In the order of the steps."""
    best, failed, skipped = reader.best(), reader.failures(), reader.skipped()
    starred, evaluated = read_notes(reader.run).starred, set(reader.evaluated_steps())
    versions = dict(reader.evaluation_versions())

    def cell(step: int) -> Cell:
        state: State = "failed" if step in failed else "skipped" if step in skipped else "done"
        if step not in evaluated:
            state = "waiting"
        return Cell(
            step,
            state,
            _thumbnail(reader, step, versions.get(step, "")) if state == "done" else "",
            "",
            None,
            None,
            say("Base model") if step == BASE_MODEL else say("Step {step}", step=step),
            best=best is not None and best.step == step,
            starred=step in starred,
        )

    return tuple(cell(step) for step in sorted({BASE_MODEL, *reader.snapshot_steps(), *evaluated}))


def _thumbnail(reader: RunReader, step: int, version: str) -> str:
    result = reader.result(step)
    image = next((sample.image for sample in result.samples if sample.image), "") if result else ""
    if not image:
        return ""
    return f"{picture_url(reader.name, f'evaluations/{step_name(step)}/images/{image}')}?v={version}&small"
