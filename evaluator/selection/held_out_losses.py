"""The held-out losses the trainer writes to `validation.csv`, as far as it has."""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.run_folder.tables import read_rows


@dataclass(frozen=True)
class Validated:
    """One line of validation.csv: diffusion losses at fixed noise, > 0, lower is better."""

    step: int
    held_out_loss: float
    gap: float | None
    """Held-out loss minus that of as many training pictures: what was learnt by heart."""
    held_out: Mapping[str, float] = field(default_factory=dict[str, float])
    """Example → its loss; empty where the trainer wrote none. So is the probe."""
    probe: Mapping[str, float] = field(default_factory=dict[str, float])
    """Of as many training examples."""


def read(path: Path, examples: Path | None = None) -> tuple[Validated, ...]:
    """By step; an absent file is no lines, and a line without a step or a finite loss is left out.

    examples: validation_examples.csv.
    """
    losses: dict[int, Validated] = {}
    by_part = _losses_of_examples(examples) if examples else {}
    for row in read_rows(path):
        step, loss = _number(row.get("step")), _number(row.get("held_out_loss"))
        if step is not None and loss is not None:
            held_out, probe = (by_part.get((int(step), part), {}) for part in ("held out", "probe"))
            losses[int(step)] = Validated(int(step), loss, _gap(row, loss), held_out, probe)
    return tuple(losses[step] for step in sorted(losses))


def _losses_of_examples(path: Path) -> dict[tuple[int, str], dict[str, float]]:
    """(Step, part) → example → its loss, > 0."""
    losses: defaultdict[tuple[int, str], dict[str, float]] = defaultdict(dict)
    for row in read_rows(path):
        step, loss = _number(row.get("step")), _number(row.get("loss"))
        if step is not None and loss is not None and loss > 0:
            losses[int(step), row.get("part", "")][row.get("id", "")] = loss
    return losses


def _gap(row: dict[str, str], loss: float) -> float | None:
    gap, probe = _number(row.get("gap")), _number(row.get("train_probe_loss"))
    return gap if gap is not None or probe is None else loss - probe


def _number(text: str | None) -> float | None:
    with contextlib.suppress(ValueError, TypeError):
        number = float(text or "")
        return number if math.isfinite(number) else None
    return None
