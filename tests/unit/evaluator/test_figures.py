"""Numbers of a whole evaluation, which are no means over samples."""

from __future__ import annotations

import pytest

from evaluator.selection.ranking import rank
from shared.run_folder.metric_descriptions import Column, MetricDescription, MetricDescriptions
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.evaluation_result import Sample
from shared.run_folder.records.exhibit import Figure


def samples(loss: float) -> list[Sample]:
    values = {"visual_loss": loss, "fashion_clip_loss": loss, "color_loss": loss}
    return [
        Sample(prompt_id=f"p{number}", metrics={name: value + 0.01 * number for name, value in values.items()})
        for number in range(4)
    ]


def test_a_number_of_a_whole_evaluation_stands_in_the_table_with_its_interval_and_is_compared_with_nothing():
    whole = Column(name="f1_score", meaning="of all", direction="higher", role="shown", of_whole=True)
    described = MetricDescriptions(metrics=(*OLDER_METRICS.metrics, MetricDescription(name="f1", columns=(whole,))))
    found = rank(
        {0: samples(0.5), 100: samples(0.4)},
        metrics=described,
        figures={100: {"f1_score": Figure(value=0.9, low=0.8, high=0.95)}},
    )
    row = found.summaries[1].row()
    assert [row[name] for name in ("f1_score", "f1_score_low", "f1_score_high")] == [0.9, 0.8, 0.95]
    assert {"f1_score", "f1_score_low", "f1_score_high"} <= set(described.header)
    assert "f1_score_delta" not in described.header
    assert "f1_score" not in found.summaries[0].row()
    with pytest.raises(ValueError, match="cannot be compared sample by sample"):
        Column(name="f1_score", meaning="", direction="higher", role="compared", of_whole=True)
