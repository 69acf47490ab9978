"""A metric is one new file: it is collected, its features are loaded, and the header of metrics.csv has its columns."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from shared.config.loading import parse_config
from shared.run_folder.metric_descriptions import Column, MetricDescription, MetricDescriptions
from shared.run_folder.older_metrics import OLDER_METRICS
from tasks.text_to_image import metrics
from tasks.text_to_image.evaluation.anchors import anchors
from tasks.text_to_image.evaluation.scorer import NO_REFERENCE, load_scorer
from tasks.text_to_image.scoring import features
from tasks.text_to_image.scoring.metric_input import MetricInput
from tests.conftest import ROOT
from tests.new_metric import SHIPPED, descriptions_of, new_metric

HEADER = (
    "step,epoch,total_loss,visual_loss,fashion_clip_loss,color_loss,learning_rate,timestamp,status,reason,clip_t,"
    "color_de00,visual_loss_delta,visual_loss_low,visual_loss_high,fashion_clip_loss_delta,fashion_clip_loss_low,"
    "fashion_clip_loss_high,color_loss_delta,color_loss_low,color_loss_high,clip_t_delta,clip_t_low,clip_t_high,"
    "composite,composite_low,composite_high,visual_loss_skill,fashion_clip_loss_skill,color_loss_skill,diversity,"
    "copy_max,copy_share,drift,contrast,saturation,sharpness,unclipped,val_loss,gap,signals,sure,"
    "evaluation_seconds"
)
LATER = ("contrast", "saturation", "sharpness", "unclipped")
"""Columns that the first version did not have."""
OWN_PROMPTS = parse_config({"data": {"path": "p"}, "evaluation": {"prompts": "p.txt"}})
EXAMPLE_FILE = "tasks/text_to_image/metrics/brightness.py"


def example() -> str:
    """The file that docs/metrics.md shows."""
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    return page.split("## Adding a metric")[1].split("```python\n")[1].split("```")[0]


@pytest.fixture
def exposure(tmp_path: Path) -> Iterator[None]:
    """A further file in front of the collection."""
    with new_metric(tmp_path):
        yield


def test_the_header_is_what_it_always_was() -> None:
    assert ",".join(descriptions_of(*SHIPPED).header) == HEADER
    older = HEADER.replace("copy_share", "nn_ratio").split(",")
    assert list(OLDER_METRICS.header) == [name for name in older if name not in LATER]


def test_files_that_hold_no_metric_are_none_and_legacy_is_computed_only_where_named() -> None:
    assert [name for name in metrics.all_metrics() if name in SHIPPED] == list(SHIPPED)
    assert "palette" not in metrics.all_metrics()
    assert set(SHIPPED) - set(metrics.metrics_of(OWN_PROMPTS)) == {
        "legacy", "face", "patches", "style", "kept", "prior", "class_prior",
    }  # fmt: skip


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
        scorer.features[features.clip_text]


@pytest.mark.usefixtures("exposure")
def test_a_new_file_is_a_metric(garments: list[Image.Image]) -> None:
    names = list(metrics.all_metrics())
    assert names.index("fashion") < names.index("exposure") < names.index("color")
    header = descriptions_of(*SHIPPED, "exposure").header
    assert header[:8] == tuple(HEADER.split(","))[:8], "the leading columns stay"
    assert [name for name in header if name.startswith("exposure")] == [
        "exposure",
        "exposure_delta",
        "exposure_low",
        "exposure_high",
        "exposure_skill",
    ]
    assert [name for name in header if not name.startswith(("exposure", "lightness"))] == HEADER.split(",")
    scorer = load_scorer("/nowhere", metrics=("color", "exposure"))
    assert [row["exposure"] for row in scorer.score(MetricInput(garments, garments, [""] * 4)).rows] == [100.0] * 4
    ends = anchors(garments, scorer)["exposure"]
    assert ends.shuffled < ends.real < 100, "of a number that is better when higher, the most similar has the most"


def test_a_prompt_without_a_reference_gets_the_numbers_that_need_none(garments: list[Image.Image]) -> None:
    scores = load_scorer("pocket").score_without_references(MetricInput((), garments[:2], ["a red dress", ""]))
    assert [list(row) for row in scores.rows] == [["clip_t"]] * 2
    assert scores.missing == {
        **dict.fromkeys(("visual_loss", "fashion_clip_loss", "color_loss"), NO_REFERENCE),
        "clip_t": "there is no prompt",
    }


def test_the_example_in_the_docs_is_a_metric(tmp_path: Path, garments: list[Image.Image]) -> None:
    with new_metric(tmp_path, example(), "brightness") as described:
        assert {"brightness_loss", "brightness_loss_delta"} <= set(described.header)
        samples = [
            *garments[:2],
            *(picture.point([value // 2 for value in range(256)] * 3) for picture in garments[2:]),
        ]
        scores = load_scorer("/nowhere", metrics=("brightness",)).score(MetricInput(garments, samples, [""] * 4))
        assert [bool(row["brightness_loss"]) for row in scores.rows] == [False, False, True, True]


def test_the_example_in_the_docs_passes_the_linter() -> None:
    for command in (["check"], ["format", "--diff"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "--stdin-filename", EXAMPLE_FILE, "-"]
        found = subprocess.run(ruff, input=example(), cwd=ROOT, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout + found.stderr
