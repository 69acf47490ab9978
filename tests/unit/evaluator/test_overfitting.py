from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from evaluator.selection import held_out_losses
from evaluator.selection.held_out_losses import Validated
from evaluator.selection.overfitting import gap_rising, signals
from shared.run_folder.metric_descriptions import Column, MetricDescription, MetricDescriptions, Sign
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records import Sample, Signal
from tasks.text_to_image.metrics import descriptions

RNG_SEED = 31


def samples(seed: int, num_prompts: int = 16, **centers: float) -> list[Sample]:
    """Two pictures a prompt, whose numbers vary by a fifth around the centres."""
    rng = np.random.default_rng(seed)
    return [
        Sample(
            prompt_id=f"p{prompt}",
            prompt="",
            seed=picture,
            image="",
            batch=0,
            metrics={column: float(center * rng.normal(1, 0.2)) for column, center in centers.items()},
        )
        for prompt in range(num_prompts)
        for picture in range(2)
    ]


def signs(
    after: list[Sample], before: Sequence[Sample] = (), metrics: MetricDescriptions = OLDER_METRICS
) -> dict[str, Signal]:
    """By name, without validations."""
    found = signals(after, before, (), metrics)
    return {signal.name: signal for signal in found}


def curve(losses: list[float], gaps: list[float]) -> list[Validated]:
    return [Validated(100 * n, loss, gap) for n, (loss, gap) in enumerate(zip(losses, gaps, strict=True), 1)]


def test_pictures_of_one_prompt_that_become_one_are_a_sign():
    base = samples(0, seed_distance=0.2)
    falling = signs(samples(1, seed_distance=0.02), base)["diversity"]
    assert falling.raised
    assert "differ 1" in falling.evidence
    assert "as much as the base model's" in falling.evidence
    assert signs(samples(1, seed_distance=0.16), base)["diversity"].raised is False


def test_samples_nearer_to_what_was_trained_on_are_a_sign():
    assert signs(samples(0, nn_train=0.1, nn_real=0.2))["copying"].raised
    assert signs(samples(0, nn_train=0.2, nn_real=0.2))["copying"].raised is False


def test_a_single_copy_is_a_sign_where_each_picture_is_a_verdict():
    metrics = descriptions()
    some = [
        row.model_copy(update={"metrics": {"copy_share": float(number == 3)}}) for number, row in enumerate(samples(0))
    ]
    raised = signs(some, metrics=metrics)["copying"]
    assert raised.raised
    assert raised.evidence.startswith("3% of the pictures are copies of one training picture each")
    none = signs([row.model_copy(update={"metrics": {"copy_share": 0.0}}) for row in some], metrics=metrics)["copying"]
    assert (none.raised, none.evidence[:20]) == (False, "none of the pictures")
    unknown = signs([row.model_copy(update={"metrics": {"copy_share": None}}) for row in some], metrics=metrics)[
        "copying"
    ]
    assert (unknown.raised, unknown.evidence) == (None, "the training pictures could not be compared")


def test_a_number_that_is_better_when_lower_is_a_sign_above_its_limit():
    sign = Sign(name="copies", limit=0.1, evidence="{value} are copies, more than {limit}", unknown="unknown")
    column = Column(name="copies", meaning="", direction="lower", role="overfitting", sign=sign, decimals=2)
    metrics = MetricDescriptions(metrics=(MetricDescription(name="copies", columns=(column,)),))
    raised = signs(samples(0, copies=0.3), metrics=metrics)["copies"]
    assert raised.raised
    assert raised.evidence == "0.29 (0.27 to 0.31) are copies, more than 0.10"
    assert signs(samples(0, copies=0.1), metrics=metrics)["copies"].raised is False
    assert signs([], metrics=metrics)["copies"].evidence == "unknown"


def test_a_held_out_loss_that_rises_with_a_growing_gap_is_a_sign():
    down, up = [0.20, 0.17, 0.15, 0.14], [0.145, 0.15, 0.16, 0.165, 0.17, 0.18]
    found = gap_rising(curve(down + up, list(np.linspace(0, 0.1, 10))))
    assert found.raised
    assert "lowest at step 400" in found.evidence
    assert "28.6% higher at step 1000" in found.evidence


@pytest.mark.parametrize(
    ("losses", "gaps"),
    [
        (np.linspace(0.2, 0.1, 12), np.linspace(0, 0.1, 12)),  # a gap that grows while the held-out loss still falls
        ([0.2, 0.1, 0.12, 0.12, 0.12, 0.12, 0.12, 0.12], [0, 0.05, 0.03, 0.05, 0.02, 0.04, 0.03, 0.01]),
        ([0.2, 0.1, 0.12, 0.13], [0, 0.05, 0.06, 0.07]),  # too short to be a trend
    ],
)
def test_less_than_that_is_no_sign(losses: list[float], gaps: list[float]):
    assert gap_rising(curve(list(losses), list(gaps))).raised is False


def test_what_cannot_be_told_is_said_to_be_unknown():
    plain = samples(0)
    assert [signal.raised for signal in signs(plain, plain).values()] == [None, None, None]
    assert all(signal.evidence for signal in signs(plain, plain).values())


def test_signs_are_rarely_raised_by_chance():
    """A model that has learnt nothing by heart, looked at 300 times; the validations at each of 20 points."""
    rng, alarms, trends = np.random.default_rng(RNG_SEED), 0, 0
    for trial in range(300):
        before = samples(2 * trial, 8, seed_distance=0.2, nn_train=0.2, nn_real=0.2)
        after = samples(2 * trial + 1, 8, seed_distance=0.2, nn_train=0.2, nn_real=0.2)
        alarms += any(signal.raised for signal in signs(after, before).values())
        noise = curve(list(rng.normal(0.15, 0.01, 20)), list(rng.normal(0.01, 0.005, 20)))
        trends += any(gap_rising(noise[:length]).raised for length in range(1, 21))
    assert alarms / 300 <= 0.05
    assert trends / 300 <= 0.05


def test_validations_are_read_by_name_and_what_is_no_number_is_left_out(tmp_path: Path):
    path = tmp_path / "validation.csv"
    path.write_text(
        "step,held_out_loss,train_probe_loss,gap,loss_t0\n"
        "100,0.2,0.15,0.05,1\n50,0.3,0.29,,1\n150,nan,0.1,0.1,1\n200,0.25,,,1\n300,0.2"
    )
    assert held_out_losses.read(path) == (
        Validated(50, 0.3, pytest.approx(0.01)),
        Validated(100, 0.2, 0.05),
        Validated(200, 0.25, None),
    )
    assert held_out_losses.read(tmp_path / "absent.csv") == ()
