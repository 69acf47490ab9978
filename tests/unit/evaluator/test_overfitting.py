from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from evaluator.selection import held_out_losses
from evaluator.selection.held_out_losses import Validated
from evaluator.selection.overfitting import gap_rising, signals
from shared.run_folder.metric_descriptions import Column, MetricDescription, MetricDescriptions, Sign
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.best import Signal
from shared.run_folder.records.evaluation_result import Sample
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


def curve(held_out: Sequence[float], probe: Sequence[float], num_examples: int = 8, seed: int = 0) -> list[Validated]:
    """Validations whose examples follow these means: each at a level of its own, give or take half a percent."""
    rng = np.random.default_rng(seed)
    levels = rng.lognormal(0, 0.4, (2, num_examples))
    found: list[Validated] = []
    for number, means in enumerate(zip(held_out, probe, strict=True), 1):
        losses = levels * np.reshape(means, (2, 1)) * rng.lognormal(0, 0.005, levels.shape)
        named = [
            {f"{part}{n}": float(loss) for n, loss in enumerate(row)} for part, row in zip("hp", losses, strict=True)
        ]
        found.append(Validated(100 * number, losses[0].mean(), losses[0].mean() - losses[1].mean(), *named))
    return found


def wandering(rng: np.random.Generator, length: int) -> np.ndarray:
    """Steps of an autoregressive wandering of one percent."""
    steps = [rng.normal(0, 0.01)]
    for _ in range(length - 1):
        steps.append(0.9 * steps[-1] + rng.normal(0, 0.01 * 0.19**0.5))
    return np.exp(steps)


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


def test_a_held_out_loss_that_rises_while_the_probes_falls_is_a_sign():
    up = [0.14, 0.142, 0.145, 0.15, 0.16, 0.165]
    found = gap_rising(curve([0.20, 0.17, 0.15, *up], np.linspace(0.2, 0.1, 9)))
    assert found.raised
    assert "lowest at step 400" in found.evidence
    assert "% higher at step 900; since then the loss of a held-out example changed by +1" in found.evidence
    assert found.evidence.endswith("which chance does not explain")


@pytest.mark.parametrize(
    ("held_out", "probe", "words"),
    [
        (np.linspace(0.2, 0.1, 12), np.linspace(0.2, 0.05, 12), "lowest at step 1200"),  # both still fall
        ([0.2, *[0.14, 0.142, 0.145, 0.15, 0.16]], [0.2, *[0.14, 0.142, 0.145, 0.15, 0.16]], "may be chance"),
        ([0.2, 0.15, 0.2, 0.15, 0.19, 0.15, 0.19], np.linspace(0.2, 0.1, 7), "no more than it wanders"),
    ],
)
def test_less_than_that_is_no_sign(held_out: Sequence[float], probe: Sequence[float], words: str):
    found = gap_rising(curve(held_out, probe))
    assert found.raised is False
    assert words in found.evidence


def test_a_plateau_that_wanders_hardly_ever_raises_the_sign_and_a_rise_of_three_percent_does():
    plateaus = rises = 0
    for trial in range(40):
        rng = np.random.default_rng([RNG_SEED, trial])
        common, rise = wandering(rng, 30), np.linspace(-0.01, 0.03, 30).clip(0)
        still = curve(0.15 * common, 0.15 * common, seed=trial)
        learnt_by_heart = curve(0.15 * common * np.exp(rise), 0.15 * common * np.exp(-2 * rise), seed=trial)
        plateaus += any(gap_rising(still[:length]).raised for length in range(2, 31, 2))
        rises += any(gap_rising(learnt_by_heart[:length]).raised for length in range(2, 31, 2))
    assert plateaus <= 2
    assert rises >= 32


def test_without_losses_of_single_examples_the_sign_is_unknown():
    rows = [Validated(100, 0.2, 0.01), Validated(200, 0.3, 0.1)]
    assert (gap_rising(rows).raised, gap_rising([]).raised) == (None, None)
    assert "of single examples" in gap_rising(rows).evidence
    elsewhere = gap_rising(None)
    assert (elsewhere.raised, elsewhere.evidence) == (None, "another program trains, and tells no held-out loss")


def test_what_cannot_be_told_is_said_to_be_unknown():
    plain = samples(0)
    assert [signal.raised for signal in signs(plain, plain).values()] == [None, None, None]
    assert all(signal.evidence for signal in signs(plain, plain).values())


def test_signs_are_rarely_raised_by_chance():
    """A model that has learnt nothing by heart, looked at 300 times."""
    alarms = 0
    for trial in range(300):
        before = samples(2 * trial, 8, seed_distance=0.2, nn_train=0.2, nn_real=0.2)
        after = samples(2 * trial + 1, 8, seed_distance=0.2, nn_train=0.2, nn_real=0.2)
        alarms += any(signal.raised for signal in signs(after, before).values())
    assert alarms / 300 <= 0.05


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
    examples = tmp_path / "validation_examples.csv"
    examples.write_text("step,part,id,loss\n100,held out,a,0.25\n100,probe,b,0.15\n100,probe,c,nan\n150,probe,b,1\n2")
    assert held_out_losses.read(path, examples)[1] == Validated(100, 0.2, 0.05, {"a": 0.25}, {"b": 0.15})
