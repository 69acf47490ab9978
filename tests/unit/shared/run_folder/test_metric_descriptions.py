"""How a column's numbers are spelled."""

from __future__ import annotations

from shared.run_folder.metric_descriptions import Column

LOSS = Column(
    name="color_loss",
    span=1.0,
    label="color loss",
    aspect="color",
    meaning="how far colors are",
    direction="lower",
    role="loss",
    weight=1.0,
)


def test_an_interval_that_is_wider_than_the_metric_can_be_says_nothing() -> None:
    assert LOSS.spelled_interval(-0.25, 0.125) == "-0.250 to +0.125"
    assert LOSS.spelled_interval(-0.9, 0.6) == "unknown with so few samples"
    assert LOSS.spelled_interval(-1.5, -0.2) == "-1.500 to -0.200"  # surely better, however wide
