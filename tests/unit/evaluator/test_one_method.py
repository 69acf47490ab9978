"""Numbers computed in two ways are not compared with one another."""

from __future__ import annotations

import pytest

from evaluator.selection.one_method import computed_in_two_ways
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample

PALETTE = {"model": "palette", "revision": "1", "digest": None}


def result(step: int, color: float | None = 0.1, **encoders: object) -> EvaluationResult:
    sample = Sample(prompt_id="a", metrics={"visual_loss": 0.2, "color_loss": color})
    return EvaluationResult(run_id="run", step=step, status="ok", encoders=encoders, samples=(sample,))


@pytest.mark.parametrize(
    "later",
    [
        {"color_loss": PALETTE | {"revision": "2"}},
        {"color_loss": PALETTE | {"model": "segmenter"}},
        {"color_loss": PALETTE | {"digest": "abc"}},
        {},
    ],
)
def test_another_method_or_encoder_is_found(later: dict[str, object]) -> None:
    mixed = computed_in_two_ways(OLDER_METRICS, [result(0, color_loss=PALETTE), result(10, **later)])
    assert [column.name for column in mixed] == ["color_loss"]


def test_the_same_weights_that_lie_elsewhere_by_now_are_one_method() -> None:
    before, after = (PALETTE | {"model": folder, "digest": "abc"} for folder in ("/old/clip", "/new/clip"))
    assert not computed_in_two_ways(OLDER_METRICS, [result(0, color_loss=before), result(10, color_loss=after)])


def test_a_result_without_the_number_does_not_matter() -> None:
    missing = result(10, None, color_loss={"model": "palette", "reason": "not there"})
    assert not computed_in_two_ways(OLDER_METRICS, [result(0, color_loss=PALETTE), missing])


def test_what_is_not_counted_is_only_listed() -> None:
    rest = OLDER_METRICS.without(["color_loss"])
    assert [column.name for column in rest.losses] == ["visual_loss", "fashion_clip_loss"]
    assert "color_loss" in rest.header
    assert "color_loss_delta" not in rest.header
