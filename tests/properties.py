"""Properties that hold for whatever hypothesis thinks of: few examples in the suite, thousands in its slow form.

A failing example is printed. `hypothesis.reproduce_failure` is not needed: nothing is random, nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

from shared.errors import DarkroomError

EXAMPLES = pytest.mark.parametrize("examples", [pytest.param(40), pytest.param(1500, marks=pytest.mark.slow)])


def error_of(call: Callable[[], object]) -> DarkroomError | None:
    """What a person is told; None: nothing is wrong. Any other exception is a defect."""
    try:
        call()
    except DarkroomError as error:
        return error
    return None


def holds(check: Callable[..., None], examples: int, *strategies: SearchStrategy[Any]) -> None:
    """Call `check` with so many examples of these strategies; the first that fails is made small and raised."""
    chosen = settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    chosen(given(*strategies)(check))()
