"""`run.py verdict` on folders whose truth is known: results rewritten, the layout as published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.verdict_folders import CURVES, HEAVIEST, MEASURED, advised, case, lost

SEED = 31_415


def test_a_run_that_gains_steadily_is_not_advised_to_stop_at_half_its_plan(tmp_path: Path) -> None:
    for number in range(3):
        kind = case("line", 16, HEAVIEST if number % 2 else MEASURED)
        assert not advised(kind, (SEED, number), 0.5, tmp_path / str(number), by_command=number == 0)


def test_a_run_that_has_stopped_gaining_is_advised_to_stop_at_three_quarters_of_its_plan(tmp_path: Path) -> None:
    kind = case("plateau", 16, MEASURED)
    found = [advised(kind, (SEED, number), 0.75, tmp_path / str(number), by_command=number == 0) for number in range(6)]
    assert sum(found) >= 5


@pytest.mark.parametrize("name", CURVES)
def test_the_choice_lies_near_the_best_on_average(tmp_path: Path, name: str) -> None:
    kind = case(name, 16, MEASURED)
    assert np.mean([lost(kind, (SEED, number), tmp_path / str(number)) for number in range(6)]) <= 0.06
