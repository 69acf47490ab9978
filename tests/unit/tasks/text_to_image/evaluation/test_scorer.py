from pathlib import Path

import pytest
from PIL import Image, ImageOps

from shared.errors import ConfigError, ModelError
from tasks.text_to_image.evaluation.scorer import Scorer, Scores, load_scorer
from tasks.text_to_image.metrics import pairwise_metrics
from tasks.text_to_image.scoring.features import Memo
from tasks.text_to_image.scoring.metric_input import MetricInput

PROMPTS = ["a red dress", "a blue coat", "a brown vest", "green shorts"]
NOWHERE = "/no/such/encoder"


@pytest.fixture(scope="module")
def scorer(clip_folder: Path) -> Scorer:
    return load_scorer(str(clip_folder), metrics=(*pairwise_metrics(), "legacy"))


def score(
    scorer: Scorer, references: list[Image.Image], samples: list[Image.Image], prompts: list[str] = PROMPTS
) -> Scores:
    return scorer.score(MetricInput(references, samples, prompts))


def test_every_row_has_every_column_in_order(scorer: Scorer, garments: list[Image.Image]):
    scores = score(scorer, garments, garments[::-1])
    columns = [column for metric in scorer.metrics for column in metric.row_columns]
    assert [list(row) for row in scores.rows] == [columns] * 4
    assert set(scores.missing) == {"clip_t_shuffled"}, "with random weights every caption fits every picture"


def test_a_picture_compared_with_itself_costs_nothing(scorer: Scorer, garments: list[Image.Image]):
    for row in score(scorer, garments, garments).rows:
        for column in ("visual_loss", "fashion_clip_loss", "color_loss", "legacy_visual_loss", "legacy_color_loss"):
            assert row[column] == pytest.approx(0, abs=1e-6)


def test_a_row_does_not_depend_on_its_neighbours(clip_folder: Path, garments: list[Image.Image]):
    samples = [ImageOps.mirror(picture) for picture in garments]
    first, second = (load_scorer(str(clip_folder), metrics=pairwise_metrics()) for _ in range(2))
    together = score(first, garments, samples).rows
    alone = score(second, garments[2:3], samples[2:3], PROMPTS[2:3]).rows
    assert together[2] == alone[0]


def test_an_encoder_that_cannot_be_had_is_a_blank_with_a_reason(garments: list[Image.Image]):
    scorer = load_scorer(NOWHERE, metrics=pairwise_metrics())
    scores = score(scorer, garments, garments)
    assert all(row["fashion_clip_loss"] is None and row["clip_t"] is None for row in scores.rows)
    assert all(row["visual_loss"] is not None and row["color_loss"] is not None for row in scores.rows)
    assert set(scores.missing) == {"fashion_clip_loss", "clip_t", "clip_t_real", "clip_t_shuffled"}
    assert NOWHERE in scores.missing["clip_t"]
    assert scorer.encoders["clip_t"].reason == scores.missing["clip_t"]


def test_dinov2_takes_the_place_of_the_encoder_that_comes_with_darkroom(
    clip_folder: Path, dinov2_folder: Path, garments: list[Image.Image]
):
    scorer = load_scorer(str(clip_folder), visual=str(dinov2_folder))
    row = score(scorer, garments[:1], garments[1:2], PROMPTS[:1]).rows[0]
    assert scorer.encoders["visual_loss"].digest
    assert row["visual_loss"] != row["fashion_clip_loss"]


def test_one_model_for_both_columns_is_refused(clip_folder: Path):
    with pytest.raises(ConfigError, match="are both"):
        load_scorer(str(clip_folder), visual=str(clip_folder))


def test_an_all_black_sample_is_a_failure_and_no_number(scorer: Scorer, garments: list[Image.Image]):
    with pytest.raises(ModelError, match="1 of 4 samples are all black, first number 1"):
        score(scorer, garments, [garments[0], Image.new("RGB", (64, 64)), *garments[2:]])


def test_unequal_lengths_are_refused(scorer: Scorer, garments: list[Image.Image]):
    with pytest.raises(ValueError, match="4 references, 3 samples and 4 prompts"):
        score(scorer, garments, garments[:3])


def test_equal_items_are_looked_at_once_and_the_least_asked_is_forgotten():
    seen: list[str] = []
    memo: Memo[str, int] = Memo(lambda text: seen.append(text) or len(text), capacity=2)
    assert memo(["a", "bb", "a"]) == [1, 2, 1]
    memo(["ccc"])
    memo(["a", "bb"])
    assert seen == ["a", "bb", "ccc", "bb"]
