"""The held-out losses the trainer writes to `validation.csv`, as far as it has."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path

from shared.run_folder.tables import read_rows


@dataclass(frozen=True)
class Validated:
    """One line of validation.csv: diffusion losses at fixed noise, > 0, lower is better."""

    step: int
    held_out_loss: float
    gap: float | None
    """Held-out loss minus that of as many training pictures: what was learnt by heart."""


def read(path: Path) -> tuple[Validated, ...]:
    """By step; an absent file is no lines, and a line without a step or a finite loss is left out."""
    found: dict[int, Validated] = {}
    for row in read_rows(path):
        step, loss = _number(row.get("step")), _number(row.get("held_out_loss"))
        if step is not None and loss is not None:
            found[int(step)] = Validated(int(step), loss, _gap(row, loss))
    return tuple(found[step] for step in sorted(found))


def _gap(row: dict[str, str], loss: float) -> float | None:
    gap, probe = _number(row.get("gap")), _number(row.get("train_probe_loss"))
    return gap if gap is not None or probe is None else loss - probe


def _number(text: str | None) -> float | None:
    with contextlib.suppress(ValueError, TypeError):
        number = float(text or "")
        return number if math.isfinite(number) else None
    return None
