"""The best snapshot so far, as best.json tells it: numbers with intervals, and signs."""

from __future__ import annotations

import html
from collections.abc import Mapping

from dashboard.text.formatting import interval_of, measured, metric_title, plain, signed, skilled
from dashboard.text.language import say
from dashboard.text.phrases import evidence_of
from shared.run_folder.metric_descriptions import Column, MetricDescriptions
from shared.run_folder.records.best import Best, Measured


def best_table_html(best: Best, base: Mapping[str, float], descriptions: MetricDescriptions) -> str:
    """One row per metric: the base model's value, this snapshot's, the paired difference with its interval, and how far
    it has come from unrelated pictures (0) to real ones (1)."""
    rows = "".join(_row(best, base, column) for column in descriptions.compared if column.name in best.metrics)
    titles = ["", say("base"), say("best"), say("difference"), say("95 % interval")]
    head = "".join(f"<th>{html.escape(title)}</th>" for title in [*titles, *([say("skill")] if best.skill else [])])
    notes: list[str] = []
    if best.deltas and best.num_evaluated > 1:
        notes.append(
            say(
                "The intervals hold for all {count} snapshots at once, because the best was picked among them.",
                count=best.num_evaluated,
            )
        )
    if best.skill:
        notes.append(say("Skill: 0 is a real picture of another prompt, 1 is the most similar other real picture."))
    table = f'<table class="verdict"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    small = f'<p class="small">{html.escape(" ".join(notes))}</p>' if notes else ""
    return f'<div class="wide" tabindex="0">{table}</div>{small}'


def _row(best: Best, base: Mapping[str, float], column: Column) -> str:
    name, decimals = column.name, column.decimals
    value, delta = best.metrics.get(name), best.deltas.get(name)
    cells = [measured(column, base.get(name)), measured(column, value)]
    cells += [signed(delta.delta, decimals), interval_of(column, delta.low, delta.high)] if delta else ["–", "–"]
    if best.skill:
        skill = best.skill.get(name)
        cells.append(_skill(skill) if skill else "–")
    columns = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return f"<tr><th>{html.escape(metric_title(column))}</th>{columns}</tr>"


def _skill(skill: Measured) -> str:
    told = skilled(skill.value)
    return f"{told} [{plain(skill.low)}, {plain(skill.high)}]" if told == plain(skill.value) else told


def signals_html(best: Best) -> str:
    """Each sign of overfitting at the newest snapshot, raised or not, with its evidence."""
    if not best.latest_signals:
        return ""
    tones = {True: "warn", False: "good", None: "idle"}
    rows = "".join(
        f'<li class="{tones[signal.raised]}"><b>{html.escape(say(signal.name))}</b> '
        f"{html.escape(evidence_of(signal))}</li>"
        for signal in best.latest_signals
    )
    title = html.escape(say("Signs of overfitting at the newest step, {step}", step=best.latest_step))
    return f'<p class="small">{title}</p><ul class="signals">{rows}</ul>'
