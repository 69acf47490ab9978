"""One snapshot in full: its numbers, the signs of overfitting, its file. Values to HTML, all text escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo
from math import isfinite
from typing import Any

from dashboard.data.reader import RunReader
from dashboard.data.versions import is_live
from dashboard.story.progress.status import clock
from dashboard.story.snapshots import number_in, signs_of, verdict_words
from dashboard.text.formatting import (
    composite_column,
    interval_of,
    measured,
    metric_title,
    number,
    signed,
    size,
    skilled,
)
from dashboard.text.language import say
from shared.run_folder.averages import is_average
from shared.run_folder.metric_descriptions import COMPOSITE, Column, MetricDescriptions
from shared.run_folder.pending import BASE_MODEL
from shared.run_folder.records.best import Best
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.times import parse_time

FACTS = {
    "epoch": "epoch",
    "loss": "training loss",
    "learning_rate": "learning rate",
    "set_learning_rate": "learning rate",
    "max_train_steps": "steps",
    "rank": "rank",
    "lora_alpha": "alpha",
    "base_model": "base model",
}
"""What a manifest tells → how people call it; what else it tells is shown by its own name."""
MAX_CHARACTERS = 200


def head_html(reader: RunReader, step: int) -> str:
    """The step, its marks in words, and its verdict."""
    row, best = reader.rows().get(step), reader.best()
    marks = "".join(f"<span>{html.escape(mark)}</span>" for mark in marks_of(reader, step, row, best))
    words = html.escape(verdict_words(step, row, best))
    title = html.escape(say("Step {step}", step=step))
    return f'<div class="snapshot-head"><h2>{title}</h2><p class="marks">{marks}</p><p>{words}</p></div>'


def marks_of(reader: RunReader, step: int, row: Mapping[str, Any] | None, best: Best | None) -> Iterable[str]:
    """Each a sign with its word."""
    if best and best.step == step and best.is_chosen:
        yield f"★ {say('best so far') if is_live(reader.run) else say('best')}"
    if signs_of(row) or (best and step in best.passed_over):
        yield f"⚠ {say('flagged')}"
    if reader.config.train.ema_decay or is_average(step):
        yield f"x̄ {say('averaged weights')}"
    if step in reader.deleted_steps():
        yield f"⊘ {say('weights deleted')}"


def numbers_html(reader: RunReader, step: int) -> str:
    """A row for each metric: the base model's value, this snapshot's, the difference with its interval."""
    row = reader.rows().get(step)
    if not row or row.get("status") != "ok":
        return ""
    base, metrics = reader.rows().get(BASE_MODEL, {}), reader.descriptions
    titles = ["", say("base"), say("here"), say("difference"), say("95 % interval")]
    has_skill = any(isfinite(number_in(row, f"{column.name}_skill")) for column in metrics.losses)
    head = "".join(f"<th>{html.escape(title)}</th>" for title in [*titles, *([say("skill")] if has_skill else [])])
    lines = [_line(column, row, base, has_skill) for column in metrics.compared]
    whole = ["–", "–", *_difference(row, COMPOSITE[0], composite_column()), *(["–"] if has_skill else [])]
    body = "".join([_cells(say("composite"), whole), *lines])
    table = f'<table class="verdict"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="wide" tabindex="0">{table}</div>'


def signs_html(reader: RunReader, step: int) -> str:
    """Each sign of overfitting with its evidence, raised or not, and why the snapshot is passed over."""
    row, best = reader.rows().get(step), reader.best()
    told = _evidence(best, step) or _measured(reader.descriptions, row or {})
    told = dict.fromkeys(signs_of(row), (True, "")) | told
    lines = [_sign(name, is_raised, evidence) for name, (is_raised, evidence) in told.items()]
    if best and (reason := best.passed_over.get(step)):
        lines.insert(0, f"<li>⚠ {html.escape(say('passed over: {reason}', reason=reason[:MAX_CHARACTERS]))}</li>")
    if not lines:
        return ""
    return f'<h3>{html.escape(say("Signs of overfitting"))}</h3><ul class="facts">{"".join(lines)}</ul>'


def facts_html(manifest: Manifest | None, now: datetime, zone: tzinfo) -> str:
    """Time, rank and the like, and each file with its size and digest."""
    if manifest is None:
        return ""
    facts = [(say("published"), _when(manifest.created, now, zone))]
    for name, value in manifest.details.items():
        label = say(FACTS[name]) if name in FACTS else name.replace("_", " ")
        facts.append((label, number(value, 4) if isinstance(value, float) else str(value)))
    for entry in manifest.files:
        facts += [(say("file"), f"{entry.name} ({size(entry.size)})"), ("sha256", entry.sha256)]
    terms = "".join(
        f"<dt>{html.escape(name[:MAX_CHARACTERS])}</dt><dd>{html.escape(value[:MAX_CHARACTERS])}</dd>"
        for name, value in facts
    )
    return f'<dl class="facts">{terms}</dl>'


def _line(column: Column, row: Mapping[str, Any], base: Mapping[str, Any], has_skill: bool) -> str:
    values = [measured(column, source.get(column.name)) for source in (base, row)]
    cells = [*values, *_difference(row, f"{column.name}_delta", column)]
    if has_skill:
        skill = number_in(row, f"{column.name}_skill")
        cells.append(skilled(skill) if isfinite(skill) else "–")
    return _cells(metric_title(column), cells)


def _difference(row: Mapping[str, Any], middle: str, column: Column) -> list[str]:
    delta, low, high = (number_in(row, key) for key in (middle, f"{column.name}_low", f"{column.name}_high"))
    return [signed(delta, column.decimals), interval_of(column, low, high) if isfinite(delta) else "–"]


def _cells(title: str, cells: Iterable[str]) -> str:
    return f"<tr><th>{html.escape(title)}</th>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


def _evidence(best: Best | None, step: int) -> dict[str, tuple[bool | None, str]]:
    """The evaluator's own words, which it keeps for the best and for the newest snapshot."""
    kept = {best.latest_step: best.latest_signals, best.step: best.signals} if best else {}
    return {signal.name: (signal.raised, signal.evidence) for signal in kept.get(step, ())}


def _measured(metrics: MetricDescriptions, row: Mapping[str, Any]) -> dict[str, tuple[bool | None, str]]:
    raised = signs_of(row)
    return {
        column.sign.name: (column.sign.name in raised, f"{metric_title(column)} {measured(column, row[column.name])}")
        for column in metrics.of_role("overfitting")
        if column.sign and isfinite(number_in(row, column.name))
    }


def _sign(name: str, is_raised: bool | None, evidence: str) -> str:
    mark = {True: f"⚠ {say('yes')}", False: say("no"), None: say("not known")}[is_raised]
    told = " · ".join(filter(None, (mark, evidence)))
    return f"<li><b>{html.escape(say(name))}</b>: {html.escape(told)}</li>"


def _when(created: str, now: datetime, zone: tzinfo) -> str:
    try:
        return clock(parse_time(created), now, zone)
    except (ValueError, OverflowError):
        return created
