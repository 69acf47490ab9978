import pytest

from pocket.reports.gate import LEAST, Gate


def test_a_base_that_names_everything_often_enough_passes():
    assert Gate(dict(LEAST)).passed
    assert Gate(dict(LEAST)).text == "passed: kind 80.0% of 80%, colour 95.0% of 95%, pattern 90.0% of 90%"


@pytest.mark.parametrize("name", LEAST)
def test_one_attribute_below_its_share_fails(name: str):
    gate = Gate(LEAST | {name: LEAST[name] - 0.01})
    assert not gate.passed
    assert gate.text.startswith("not passed: kind ")
