"""The best snapshot so far, as best.json tells it: numbers with intervals, and the file to take away."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path

from dashboard.language import say
from dashboard.words import interval, metric_name, number, signed
from shared.publication import read_manifest
from shared.records import Best
from shared.rundir import RunDir
from shared.tables import COMPARED_METRICS


def best_file(run: RunDir, best: Best) -> Path:
    """The adapter to ship: the snapshot's safetensors file; its folder if it lists none."""
    folder = run.path / best.snapshot
    manifest = read_manifest(folder)
    names = [entry.name for entry in manifest.files if entry.name.endswith(".safetensors")] if manifest else []
    return folder / names[0] if names else folder


Skill = Mapping[str, Mapping[str, float]]


def best_table_html(best: Best, base: Mapping[str, float], skill: Skill) -> str:
    """One row per metric: the base model's value, this snapshot's, the paired difference with its interval, and how far
    it has come from unrelated pictures (0) to real ones (1)."""
    rows = "".join(_row(best, base, name, skill) for name in COMPARED_METRICS if name in best.metrics)
    titles = ["", say("base"), say("best"), say("difference"), say("95 % interval"), *([say("skill")] if skill else [])]
    head = f"<tr>{''.join(f'<th>{html.escape(title)}</th>' for title in titles)}</tr>"
    return f'<div class="wide"><table class="verdict"><thead>{head}</thead><tbody>{rows}</tbody></table></div>'


def _row(best: Best, base: Mapping[str, float], name: str, skill: Skill) -> str:
    value, delta = best.metrics.get(name), best.deltas.get(name)
    cells = [number(base.get(name)), number(value)]
    cells += [signed(delta.delta), interval(delta.low, delta.high)] if delta else ["–", "–"]
    if skill:
        measured = skill.get(name)
        cells.append(f"{measured['value']:.0%} [{measured['low']:.0%}, {measured['high']:.0%}]" if measured else "–")
    columns = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return f"<tr><th>{html.escape(metric_name(name))}</th>{columns}</tr>"
