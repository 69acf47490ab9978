"""Runs beside one another: numbers of their best snapshots, and settings that differ. Values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from dashboard.text.formatting import difference as difference_to
from dashboard.text.formatting import measured, metric_name
from dashboard.text.language import say
from shared.run_folder.averages import label
from shared.run_folder.compared import samples_of, seen_alike, shared_pairs
from shared.run_folder.file_to_ship import FileState
from shared.run_folder.known_settings import Settings, is_of_training
from shared.run_folder.metric_descriptions import Column, MetricDescriptions, compared_in_any
from shared.run_folder.phrase import Unit
from shared.run_folder.records.best import Best
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.statistics.paired import Estimate, by_prompt, difference

UNIMPORTANT = frozenset(
    {"run", "dashboard", "data.cache_dir", "evaluation.rescan_seconds", "train.checkpoints_total_limit"}
)
"""Sections and settings that change neither what a run learns nor how it is evaluated."""


@dataclass(frozen=True)
class Contestant:
    """What is compared of a run."""

    name: str
    settings: Settings
    descriptions: MetricDescriptions
    best: Best | None = None
    last_step: int = 0
    references: Mapping[str, str] = field(default_factory=dict[str, str])
    """Pair id → digest of the real picture it is evaluated by."""
    evaluated: EvaluationResult | None = None
    """The best snapshot's."""
    base: EvaluationResult | None = None
    """The base model's."""
    unit: Unit = "step"
    """What its snapshots are counted in."""
    file: FileState = "same"
    """Whether the best snapshot's file is still what was evaluated."""


def score_table(contestants: Sequence[Contestant], baseline: str) -> pd.DataFrame:
    """The best snapshot of each run; where it was evaluated as the baseline's was, with the difference to that."""
    pinned = next((one for one in contestants if one.name == baseline), None)
    columns = compared_in_any(one.descriptions for one in contestants)
    return pd.DataFrame([_score(one, columns, None if one is pinned else pinned, one is pinned) for one in contestants])


def evaluated_otherwise(contestants: Sequence[Contestant], baseline: str) -> list[str]:
    """Runs whose numbers do not compare with the baseline's."""
    pinned = next((one for one in contestants if one.name == baseline), None)
    others = [one for one in contestants if one is not pinned and one.evaluated]
    return [one.name for one in others if pinned and pinned.evaluated and not shared_pairs(one, pinned)]


def change(one: Contestant, other: Contestant, name: str) -> Estimate | None:
    """A metric of `one` minus that of `other`, over the prompts they share; None where it was not scored alike."""
    if one.evaluated is None or other.evaluated is None or not seen_alike(one, other, name):
        return None
    pairs = shared_pairs(one, other)
    ours, theirs = (by_prompt(samples_of(evaluated, pairs), name) for evaluated in (one.evaluated, other.evaluated))
    return difference(ours, theirs)


def _score(one: Contestant, columns: Sequence[Column], pinned: Contestant | None, is_baseline: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        say("run"): f"◆ {one.name}" if is_baseline else one.name,
        say("steps"): one.last_step,
        say("best step"): label(one.best.step) if one.best else "–",
    }
    for column in columns:
        value = one.best.metrics.get(column.name) if one.best else None
        differs = _change(one, pinned, column) if pinned else ""
        row[metric_name(column)] = measured(column, value) + (f" ({differs})" if differs else "")
    return row


def _change(one: Contestant, pinned: Contestant, column: Column) -> str:
    """The difference paired by prompts, with its interval; a direction only where that excludes zero."""
    found = change(one, pinned, column.name)
    if found is None or found.low is None or found.high is None:
        return ""
    text = difference_to(column, found.mean, found.low, found.high)
    if column.guard or not column.worsening:  # whether a higher guard is better depends on what real pictures score
        return text
    arrows = (" ▲", " ▼") if column.worsening > 0 else (" ▼", " ▲")
    return text + (arrows[0] if found.is_below_zero else arrows[1] if found.is_above_zero else "")


def config_differences(contestants: Sequence[Contestant]) -> pd.DataFrame:
    """Only the settings that are not the same everywhere; one column per run."""
    flat = {one.name: flatten(one.settings) for one in contestants}
    keys = list(dict.fromkeys(key for settings in flat.values() for key in settings))
    rows = [
        {say("setting"): key, **{name: spell(settings.get(key)) for name, settings in flat.items()}}
        for key in keys
        if is_important(key) and differs(key, flat.values())
    ]
    return pd.DataFrame(rows)


def differs(key: str, runs: Iterable[Mapping[str, Any]]) -> bool:
    """Whether runs have a setting otherwise. What is not known of a training is no difference."""
    return len({str(values.get(key)) for values in runs if key in values or not is_of_training(key)}) > 1


def is_important(key: str) -> bool:
    """Whether a setting can change what a run learns or how it is evaluated."""
    return UNIMPORTANT.isdisjoint((key, key.partition(".")[0]))


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
