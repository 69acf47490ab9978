"""The snapshots as a table: what each is worth against the base model, in words and numbers. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dashboard.data.notes import Notes
from dashboard.data.sure import is_sure
from dashboard.text.formatting import interval, metric_name, signed
from dashboard.text.language import say
from shared.run_folder.metric_descriptions import MetricDescriptions
from shared.run_folder.records.best import Best, Confirmation
from shared.run_folder.records.manifest import Manifest

DIGEST_DIGITS = 12
SHOWN_CHARACTERS = 200


def snapshot_table(
    steps: Sequence[int],
    metrics: pd.DataFrame,
    descriptions: MetricDescriptions,
    manifests: Mapping[int, Manifest],
    best: Best | None,
    notes: Notes,
) -> pd.DataFrame:
    """One row per published snapshot, newest first."""
    rows = metrics.set_index("step").to_dict("index")
    return pd.DataFrame(
        [
            _row(step, rows.get(step), descriptions, manifests.get(step), best, notes)
            for step in sorted(steps, reverse=True)
        ]
    )


def verdict_words(step: int, row: Mapping[str, Any] | None, best: Best | None = None) -> str:
    """Better or worse than the base model only where the evaluator is sure of it; what the final decided."""
    if row is None:
        return say("not evaluated yet")
    if row.get("status") == "failed":
        return say("could not be evaluated: {reason}", reason=row.get("reason"))
    if row.get("status") == "skipped":
        return say("skipped: {reason}", reason=row.get("reason"))
    low, high = row.get("composite_low", np.nan), row.get("composite_high", np.nan)
    if not np.isfinite([low, high]).all():
        return say("evaluated, no interval")
    words = say("no clear difference from the base model")
    if is_sure(row.get("sure"), "composite") and not low <= 0 <= high:
        words = say("better than the base model (95 %)") if high < 0 else say("worse than the base model (95 %)")
    if signs := [say(name) for name in str(row.get("signals") or "").split()]:
        words = say("{verdict}; signs of overfitting: {signs}", verdict=words, signs=", ".join(signs))
    if best and best.confirmation and step in best.confirmation.finalists:
        words = f"{words}; {final_words(step, best.confirmation)}"
    return "★ " + say("best; {verdict}", verdict=words) if best and best.step == step else words


def final_words(step: int, final: Confirmation) -> str:
    """What evaluating the finalists again decided for one of them."""
    if step != final.step:
        return say("the final chose step {step}", step=final.step)
    if final.better_than_base:
        return say("chosen by the final")
    return say("chosen by the final, not proven better than the base model there")


def _row(
    step: int,
    row: Mapping[str, Any] | None,
    descriptions: MetricDescriptions,
    manifest: Manifest | None,
    best: Best | None,
    notes: Notes,
) -> dict[str, Any]:
    cells = row or {}
    compared = {
        metric_name(column): _difference(cells, f"{column.name}_delta", column.name, column.decimals)
        for column in descriptions.compared
    }
    return {
        "☆": "★" if step in notes.starred else "",
        say("step"): step,
        say("verdict"): verdict_words(step, row, best),
        say("composite"): _difference(cells, "composite", "composite"),
        **compared,
        say("size, MB"): sum(entry.size for entry in manifest.files) / 1e6 if manifest else None,
        say("digest"): manifest.files[0].sha256[:DIGEST_DIGITS] if manifest and manifest.files else "",
        say("published"): pd.to_datetime(manifest.created, utc=True, errors="coerce") if manifest else pd.NaT,
        say("note"): notes.texts.get(step, "")[:SHOWN_CHARACTERS],
    }


def _difference(row: Mapping[str, Any], center: str, name: str, decimals: int = 3) -> str:
    delta = row.get(center, np.nan)
    if delta is None or not np.isfinite(delta):
        return "–"
    return f"{signed(delta, decimals)} {interval(row[f'{name}_low'], row[f'{name}_high'], decimals)}"
