"""What an evaluator may take for one call: nothing that changes a result."""

from __future__ import annotations

import pytest

from shared.config.one_call import FOR_ONE_CALL, require, split
from shared.config.resume_rule import Rule
from shared.config.schema import RULES
from shared.errors import ConfigError


def test_none_of_them_changes_a_result() -> None:
    assert {RULES[key] for key in FOR_ONE_CALL} == {Rule.UPKEEP}


def test_they_are_told_from_others_which_an_evaluator_refuses() -> None:
    given = ["evaluation.blocks_to_swap=3", "data.path=there", " evaluation.order = oldest"]
    assert split(given) == ([given[0], given[2]], [given[1]])
    assert require(given[:1]) == given[:1]
    with pytest.raises(ConfigError, match=r"evaluation\.seed=3: an evaluator takes only"):
        require(["evaluation.seed=3"])
