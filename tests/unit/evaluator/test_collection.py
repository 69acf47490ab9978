"""A metric is one new file: it is collected, its features are loaded, and the header of metrics.csv has its columns."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from shared.run_folder.metric_descriptions import Column, MetricDescription, MetricDescriptions
from shared.run_folder.older_metrics import OLDER_METRICS
from tasks.text_to_image import metrics
from tasks.text_to_image.evaluation.anchors import anchors
from tasks.text_to_image.evaluation.scorer import NO_REFERENCE, load_scorer
from tasks.text_to_image.metrics.metric_input import MetricInput

HEADER = (
    "step,epoch,total_loss,visual_loss,fashion_clip_loss,color_loss,learning_rate,timestamp,status,reason,clip_t,"
    "color_de00,visual_loss_delta,visual_loss_low,visual_loss_high,fashion_clip_loss_delta,fashion_clip_loss_low,"
    "fashion_clip_loss_high,color_loss_delta,color_loss_low,color_loss_high,clip_t_delta,clip_t_low,clip_t_high,"
    "composite,composite_low,composite_high,visual_loss_skill,fashion_clip_loss_skill,color_loss_skill,diversity,"
    "copy_max,nn_ratio,drift,val_loss,gap,signals,evaluation_seconds"
)
BRIGHTNESS = '''
"""`brightness`: is the sample as bright as its reference?"""

import numpy as np

from shared.run_folder.metric_descriptions import Column
from tasks.text_to_image.metrics.features import Extractor
from tasks.text_to_image.metrics.metric import Metric


def brightness(encoders):
    return Extractor(lambda picture: float(np.asarray(picture.convert("L")).mean()) / 255)


def likeness(metric_input, features):
    look = features[brightness]
    pairs = zip(look(metric_input.references), look(metric_input.samples), strict=True)
    return [{"brightness": 1 - abs(reference - sample)} for reference, sample in pairs]


METRIC = Metric(
    name="brightness",
    order=25,
    columns=(
        Column(
            name="brightness",
            label="brightness likeness",
            meaning="1 is as bright as the reference",
            direction="higher",
            role="loss",
            weight=0.5,
        ),
    ),
    compute=likeness,
    needs=("references",),
    features=(brightness,),
)
'''


@pytest.fixture
def brightness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A further file in front of the collection."""
    (tmp_path / "brightness.py").write_text(BRIGHTNESS, encoding="utf-8")
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(tmp_path)])
    metrics.all_metrics.cache_clear()
    yield
    sys.modules.pop("tasks.text_to_image.metrics.brightness", None)
    metrics.all_metrics.cache_clear()


def test_the_header_is_what_it_always_was() -> None:
    assert ",".join(metrics.descriptions().header) == HEADER
    assert ",".join(OLDER_METRICS.header) == HEADER


def test_files_that_hold_no_metric_are_none_and_legacy_is_computed_only_where_named() -> None:
    names = ["visual", "fashion", "color", "clip_t", "diversity", "copying", "drift"]
    assert list(metrics.all_metrics()) == [*names, "legacy"]
    assert list(metrics.metric_names()) == names


def test_a_column_is_named_once_and_fits_its_role() -> None:
    column = Column(name="a_loss", meaning="", direction="lower", role="loss", weight=1)
    with pytest.raises(ValueError, match="two columns are called a_loss"):
        MetricDescriptions(metrics=(MetricDescription(name="a", columns=(column, column)),))
    with pytest.raises(ValueError, match="role shown does not agree"):
        Column(name="a", meaning="", direction="lower", role="shown", weight=1)
    with pytest.raises(ValueError, match="a loss needs a direction"):
        Column(name="a", meaning="", direction="none", role="loss", weight=1)


def test_a_feature_that_no_metric_names_is_refused() -> None:
    scorer = load_scorer("/nowhere", metrics=("color",))
    with pytest.raises(ValueError, match="clip_text is not among the features"):
        scorer.features[metrics.features.clip_text]


@pytest.mark.usefixtures("brightness")
def test_a_new_file_is_a_metric(garments: list[Image.Image]) -> None:
    assert list(metrics.all_metrics())[:3] == ["visual", "fashion", "brightness"]
    header = metrics.descriptions().header
    assert header[:8] == tuple(HEADER.split(","))[:8], "the leading columns stay"
    assert [name for name in header if name.startswith("brightness")] == [
        "brightness",
        "brightness_delta",
        "brightness_low",
        "brightness_high",
        "brightness_skill",
    ]
    assert [name for name in header if not name.startswith("brightness")] == HEADER.split(",")
    scorer = load_scorer("/nowhere", metrics=("color", "brightness"))
    assert [row["brightness"] for row in scorer.score(MetricInput(garments, garments, [""] * 4)).rows] == [1.0] * 4
    ends = anchors(garments, scorer)["brightness"]
    assert ends.shuffled < ends.real < 1, "of a number that is better when higher, the most similar has the most"


def test_a_prompt_without_a_reference_gets_the_numbers_that_need_none(garments: list[Image.Image]) -> None:
    scores = load_scorer("pocket").score_without_references(garments[:2], ["a red dress", ""])
    assert [list(row) for row in scores.rows] == [["clip_t"]] * 2
    assert scores.missing == {
        **dict.fromkeys(("visual_loss", "fashion_clip_loss", "color_loss"), NO_REFERENCE),
        "clip_t": "there is no prompt",
    }
