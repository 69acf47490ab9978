from itertools import permutations

import numpy as np
import pytest
from PIL import Image

from shared.run_folder.records.evaluation_result import Anchors
from shared.statistics.paired import estimate
from shared.statistics.skill import skill
from tasks.text_to_image.evaluation.anchors import MAX_OTHERS, anchors, matching, mismatched
from tasks.text_to_image.evaluation.scorer import Scorer, load_scorer
from tasks.text_to_image.metrics import pairwise_metrics
from tasks.text_to_image.scoring.features import visual_embedding


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return load_scorer("pocket", metrics=pairwise_metrics())


def test_floor_and_ceiling_are_what_other_real_pictures_cost(scorer: Scorer, garments: list[Image.Image]):
    ends = anchors(garments, scorer)["visual_loss"]
    vectors = [vector.astype(float) for vector in scorer.features[visual_embedding](garments)]
    costs = {(i, j): 1 - vectors[i] @ vectors[j] for i, j in permutations(range(4), 2)}
    assert ends.shuffled == pytest.approx(np.mean(list(costs.values())))
    assert ends.real == pytest.approx(np.mean([min(costs[i, j] for j in range(4) if j != i) for i in range(4)]))
    assert set(anchors(garments, scorer)) == {"visual_loss", "fashion_clip_loss", "color_loss"}


def test_the_ceiling_costs_less_than_the_floor(scorer: Scorer, garments: list[Image.Image]):
    for ends in anchors(garments, scorer).values():
        assert ends.real < ends.shuffled


def test_one_reference_has_no_scale(scorer: Scorer, garments: list[Image.Image]):
    assert anchors(garments[:1], scorer) == {}


def test_an_encoder_that_cannot_be_had_has_no_scale(garments: list[Image.Image]):
    assert set(anchors(garments, load_scorer("/nowhere", metrics=pairwise_metrics()))) == {"visual_loss", "color_loss"}


def test_a_reference_never_meets_its_own_sample_however_many_there_are(garments: list[Image.Image]):
    scorer = load_scorer("/nowhere", metrics=("visual",))
    many = [garments[0].rotate(number, fillcolor="white") for number in range(MAX_OTHERS + 8)]
    costs = mismatched(many, many, scorer)["visual_loss"]
    assert costs.shape == (MAX_OTHERS + 8, MAX_OTHERS)
    assert costs.min() > 1e-6


def test_samples_that_find_their_reference_match_and_others_are_at_chance():
    shuffled = np.array([[0.5, 0.6], [0.7, 0.4]])
    assert matching([0.1, 0.2], shuffled) == 1
    assert matching([0.5, 0.55], shuffled) == pytest.approx((2.5 + 2) / 8)
    assert matching([0.9, 0.9], shuffled) == 0


def test_skill_is_0_at_the_floor_and_1_at_the_ceiling_and_turns_the_interval_round():
    ends = Anchors(shuffled=0.5, real=0.1)
    losses = estimate([0.3, 0.5, 0.4, 0.4])
    assert losses
    found = skill(losses, ends)
    assert found.mean == pytest.approx(0.25)
    assert found.low == pytest.approx((0.5 - (losses.high or 0)) / 0.4)
    assert found.high == pytest.approx((0.5 - (losses.low or 0)) / 0.4)
    assert found.low < found.mean < found.high
