"""Runs beside one another: numbers of their best snapshots, and settings that differ. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dashboard.charts.quality import HIGHER_IS_BETTER
from dashboard.language import say
from dashboard.words import metric_name, number, signed
from shared.config import Config
from shared.records import Best
from shared.tables import COMPARED_METRICS

UNIMPORTANT = frozenset({"run", "dashboard"})


@dataclass(frozen=True)
class Contestant:
    """What is compared of a run."""

    name: str
    config: Config
    best: Best | None
    last_step: int


def score_table(contestants: Sequence[Contestant], baseline: str) -> pd.DataFrame:
    """The best snapshot of each run, with the difference to the baseline's and which way that is."""
    pinned = next((one.best for one in contestants if one.name == baseline), None)
    return pd.DataFrame([_score(one, pinned, one.name == baseline) for one in contestants])


def _score(one: Contestant, pinned: Best | None, is_baseline: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        say("run"): f"◆ {one.name}" if is_baseline else one.name,
        say("steps"): one.last_step,
        say("best step"): one.best.step if one.best else None,
    }
    for name in COMPARED_METRICS:
        value = one.best.metrics.get(name) if one.best else None
        base = pinned.metrics.get(name) if pinned and not is_baseline else None
        row[metric_name(name)] = number(value) + (
            f" ({_change(value, base, name)})" if value is not None and base is not None else ""
        )
    return row


def _change(value: float, base: float, name: str) -> str:
    if name in HIGHER_IS_BETTER or value == base:  # whether a higher text score is better depends on the garment
        return signed(value - base)
    return f"{signed(value - base)} {'▲' if value < base else '▼'}"


def config_differences(contestants: Sequence[Contestant]) -> pd.DataFrame:
    """Only the settings that are not the same everywhere; one column per run."""
    flat = {one.name: flatten(one.config.model_dump(mode="json")) for one in contestants}
    keys = list(dict.fromkeys(key for settings in flat.values() for key in settings))
    rows = [
        {say("setting"): key, **{name: spell(settings.get(key)) for name, settings in flat.items()}}
        for key in keys
        if key.partition(".")[0] not in UNIMPORTANT and len({str(settings.get(key)) for settings in flat.values()}) > 1
    ]
    return pd.DataFrame(rows)


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """`{"train": {"seed": 0}}` → `{"train.seed": 0}`."""
    return {f"{section}.{key}": value for section, values in tree.items() for key, value in values.items()}


def spell(value: Any) -> str:
    """A setting as TOML spells it; what is not set is a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
