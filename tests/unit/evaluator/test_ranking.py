import subprocess
import sys
from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest

from evaluator.selection.held_out_losses import Validated
from evaluator.selection.ranking import Ranking
from evaluator.selection.ranking import rank as rank_by
from shared.run_folder.metric_descriptions import Column, Guard, MetricDescription, MetricDescriptions
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.evaluation_result import Anchors, Sample
from shared.statistics.composite import guard_unit, mix
from shared.statistics.paired import estimate

METRICS = ("visual_loss", "fashion_clip_loss", "color_loss", "clip_t")
NUM_PROMPTS, NUM_SEEDS = 8, 2
rank = partial(rank_by, metrics=OLDER_METRICS)


def evaluation(
    gain: float = 0.0,
    seed: int = 0,
    noise: float = 0.01,
    spread: float = 0.02,
    overrides: Mapping[str, float | None] | None = None,
) -> list[Sample]:
    """Rows of a snapshot whose losses are `gain` lower than the base model's, and whose `clip_t` is unchanged."""
    rng = np.random.default_rng(seed)
    samples = []
    for prompt in range(NUM_PROMPTS):
        for picture in range(NUM_SEEDS):
            noises = noise * rng.normal(size=len(METRICS))
            losses = {
                metric: float(0.5 + spread * prompt - gain + extra)
                for metric, extra in zip(METRICS, noises, strict=True)
            }
            losses["clip_t"] += gain
            metrics = {**losses, **(overrides or {})}
            samples.append(Sample(prompt_id=f"p{prompt}", prompt="", seed=picture, image="", batch=0, metrics=metrics))
    return samples


def run_of(*gains: float, noise: float = 0.01) -> Ranking:
    """A verdict over step 0 and one snapshot for each gain, 100 steps apart."""
    rows = {0: evaluation(noise=noise)}
    return rank(rows | {100 * n: evaluation(gain, seed=n, noise=noise) for n, gain in enumerate(gains, 1)})


def test_step_0_differs_from_itself_by_exactly_nothing():
    ranking = rank({0: evaluation()})
    row = ranking.row(ranking.summaries[0])
    assert [row[f"fashion_clip_loss_{part}"] for part in ("delta", "low", "high")] == [0, 0, 0]
    assert row["composite"] == 0


def test_a_loss_with_a_number_for_a_single_prompt_does_not_leave_the_run_without_a_choice():
    rows = {0: evaluation(), 100: evaluation(0.1, seed=1)}
    for samples in rows.values():
        for sample in samples:
            if sample.prompt_id != "p0":
                sample.metrics["color_loss"] = None
    ranking = rank(rows)
    assert ranking.weights.keys() == {"visual_loss", "fashion_clip_loss"}
    assert ranking.best
    assert len(ranking.summaries[1].composite) == NUM_PROMPTS


def test_a_row_has_the_cells_of_the_table():
    ranking = run_of(0.1)
    row = ranking.row(ranking.summaries[1])
    expected = {f"{metric}{part}" for metric in METRICS for part in ("", "_delta", "_low", "_high")}
    expected |= {"composite", "composite_low", "composite_high", "diversity", "nn_ratio", "val_loss", "gap"}
    assert set(row) == expected


def test_the_composite_is_the_weighted_delta_in_step_0s_standard_deviations():
    ranking = rank({0: evaluation(spread=0.2, noise=0), 100: evaluation(0.1, spread=0.2, noise=0)})
    scale = np.std([0.2 * prompt for prompt in range(NUM_PROMPTS)], ddof=1)
    assert ranking.summaries[1].row()["composite"] == pytest.approx(-0.1 / scale)


def test_prompts_that_are_alike_do_not_make_a_ruler_too_fine():
    ranking = rank({0: evaluation(spread=0, noise=0), 100: evaluation(0.1, spread=0, noise=0)})
    assert ranking.summaries[1].row()["composite"] == pytest.approx(-0.1 / (0.5 / 4))


def test_a_later_snapshot_changes_no_earlier_number():
    assert run_of(0.1, 0.2).summaries[1].row() == run_of(0.1, 0.2, 0.9).summaries[1].row()


def test_evaluations_arrive_in_any_order():
    rows = {0: evaluation(), 100: evaluation(0.1, 1), 200: evaluation(0.2, 2)}
    assert rank(rows).best == rank(dict(reversed(rows.items()))).best


def test_the_best_of_a_clear_ladder_is_its_top():
    best = run_of(0.05, 0.1, 0.2, 0.1).best
    assert best is not None
    assert best.step == 300
    assert best.better_than_base
    assert "Over 8 prompts it is better than the base model by the composite -" in best.reason
    assert "fashion CLIP loss -0." in best.reason


def test_who_prefers_the_earliest_gets_one_that_is_as_good_for_any_purpose():
    gains = (0.1, 0.17, 0.18, 0.182, 0.184, 0.186, 0.188, 0.19)
    rows = {0: evaluation()} | {100 * n: evaluation(gain, seed=n) for n, gain in enumerate(gains, 1)}
    best, earliest = rank(rows).best, rank(rows, prefer="earliest").best
    assert best
    assert earliest
    assert best.step >= 600
    assert earliest.step < best.step
    assert set(earliest.indistinguishable) == set(best.indistinguishable) >= {earliest.step, best.step}
    assert f"Step {earliest.step} is the earliest of 8 snapshots that cannot be told from the best" in earliest.reason
    strict = rank(rows, prefer="earliest", min_difference=1e-6).best
    assert strict == best, "a smaller difference matters, too"


def test_snapshots_that_cannot_be_told_from_the_best_are_named():
    best = run_of(0.1, 0.2, 0.3, 0.3, 0.1).best
    assert best
    assert set(best.indistinguishable) == {300, 400}
    other = 700 - best.step
    assert f"Step {other} cannot be told from it; the others are surely worse." in best.reason
    assert "The others are surely worse." in run_of(0.05, 0.1, 0.2, 0.1).best.reason  # type: ignore[union-attr]
    assert "None of the others can be told" in run_of(*[0.2] * 5).best.reason  # type: ignore[union-attr]


def test_no_difference_is_never_called_better():
    best = run_of(0.0, 0.0, 0.0).best
    assert best is not None
    assert not best.better_than_base
    assert "not shown to be better" in best.reason


def test_snapshots_that_surely_beat_the_base_model_are_known_though_the_best_mean_does_not():
    rows = {0: evaluation(spread=0.0), 100: evaluation(0.1, 1, spread=0.0), 200: evaluation(0.05, 2, spread=0.0)}
    uneven = [
        sample.model_copy(update={"metrics": {name: value - 0.6 for name, value in sample.metrics.items()}})  # pyright: ignore
        if sample.prompt_id in ("p0", "p1")
        else sample
        for sample in evaluation(0.0, 3, spread=0.0)
    ]
    ranking = rank(rows | {300: uneven})
    assert ranking.best
    assert (ranking.best.step, ranking.best.better_than_base) == (300, False)
    assert ranking.proven == (100, 200)
    assert [step for step, found in ranking.composites.items() if found.is_below_zero] == [100, 200]
    assert rank(rows).proven[0] == rank(rows).best.step  # type: ignore[union-attr]


def test_an_interval_wider_than_all_that_a_metric_can_be_is_called_unknown():
    column = next(column for column in OLDER_METRICS.columns if column.name == "color_loss")
    tight = column.model_copy(update={"span": 1.0})
    assert column.is_told(-300.0, 200.0), "no limit is known"
    assert tight.is_told(-0.4, 0.5)
    assert not tight.is_told(-3.0, 2.0)
    assert tight.is_told(-3.0, -0.1), "sure all the same"
    metrics = [
        one.model_copy(update={"columns": tuple(part.model_copy(update={"span": 0.001}) for part in one.columns)})
        for one in OLDER_METRICS.metrics
    ]
    rows = {0: evaluation(), 100: evaluation(0.0, 1)}
    best = rank_by(rows, MetricDescriptions(metrics=tuple(metrics))).best
    assert best
    assert "(unknown with 8 prompts)" in best.reason
    assert "no sure difference" not in best.reason


def test_the_interval_of_a_choice_among_many_is_wider_than_a_single_snapshots():
    ranking = run_of(0.1, 0.1, 0.1, 0.2)
    assert ranking.best is not None
    single = estimate(ranking.summaries[4].composite.values())
    assert single
    assert ranking.best.step == 400
    assert (ranking.best.composite.low or 0) < (single.low or 0)


def test_a_blank_metric_leaves_the_composite_and_the_other_weights_grow():
    blank = {"fashion_clip_loss": None}
    ranking = rank({0: evaluation(overrides=blank), 100: evaluation(0.1, 1, overrides=blank)})
    assert ranking.weights == {"visual_loss": 0.5, "color_loss": 0.5}
    assert ranking.best is not None
    row = ranking.summaries[1].row()
    assert row["fashion_clip_loss_delta"] is None
    assert "fashion_clip_loss" not in row
    assert "fashion_clip_loss" not in ranking.best.reason


def test_a_snapshot_that_lacks_a_loss_in_use_has_no_composite():
    ranking = rank({0: evaluation(), 100: evaluation(0.1, 1, overrides={"color_loss": None}), 200: evaluation(0.1, 2)})
    assert ranking.summaries[1].row()["composite"] is None
    assert [summary.step for summary in ranking.candidates] == [200]


def test_a_snapshot_that_ignores_its_prompts_is_not_shipped():
    rows = {0: evaluation(), 100: evaluation(0.1, 1), 200: evaluation(0.3, 2, overrides={"clip_t": 0.1})}
    best = rank(rows).best
    assert best is not None
    assert best.step == 100
    assert best.passes_guards


def test_a_concept_that_clip_does_not_know_is_shipped_when_the_real_pictures_score_as_low():
    base = evaluation(overrides={"clip_t_real": 0.1})
    best = rank({0: base, 100: evaluation(0.1, 1), 200: evaluation(0.3, 2, overrides={"clip_t": 0.1})}).best
    assert best is not None
    assert best.step == 200
    assert best.passes_guards


def test_when_every_snapshot_ignores_its_prompts_that_is_said():
    best = rank({0: evaluation(), 100: evaluation(0.3, 1, overrides={"clip_t": 0.1})}).best
    assert best is not None
    assert not best.passes_guards
    assert "follows its prompts less" in best.reason


def described(*columns: Column) -> MetricDescriptions:
    return MetricDescriptions(metrics=(MetricDescription(name="new", columns=columns),))


def test_a_number_that_is_better_when_higher_pulls_the_composite_down_by_rising():
    column = Column(name="visual_loss", meaning="", direction="higher", role="loss", weight=1)
    rows = {0: evaluation(), 100: evaluation(-0.2, 1), 200: evaluation(-0.1, 2)}
    ranking = rank_by(rows, described(column), anchors={"visual_loss": Anchors(shuffled=0.4, real=1.0)})
    assert ranking.best
    assert ranking.best.step == 100
    assert ranking.best.better_than_base
    assert "visual loss +0." in ranking.best.reason
    assert ", better)" in ranking.best.reason
    base, better = (ranking.summaries[number].skills["visual_loss"] for number in (0, 1))
    assert better.mean == pytest.approx((ranking.summaries[1].means["visual_loss"] - 0.4) / 0.6)
    assert (better.low or 0) < better.mean < (better.high or 0)
    assert base.mean < better.mean


SCALED = Column(
    name="clip_t",
    meaning="",
    direction="higher",
    role="guard",
    guard=Guard(real="clip_t_real", shuffled="clip_t_shuffled", fallen="fails clip_t"),
)
REAL, SHUFFLED = (
    Column(name=name, meaning="", direction="none", role="recorded") for name in ("clip_t_real", "clip_t_shuffled")
)


@pytest.mark.parametrize(
    ("shuffled", "clip_t", "chosen"), [(0.2, 0.24, 100), (0.2, 0.29, 200), (0.28, 0.29, 100), (None, 0.1, 200)]
)
def test_a_guards_unit_is_what_the_real_pictures_lose_with_others_captions(
    shuffled: float | None, clip_t: float, chosen: int
):
    real = {"clip_t_real": 0.31} | ({} if shuffled is None else {"clip_t_shuffled": shuffled})
    rows = {0: evaluation(overrides={"clip_t": 0.31, **real}), 100: evaluation(0.1, 1, overrides={"clip_t": 0.31})}
    rows[200] = evaluation(0.3, 2, overrides={"clip_t": clip_t})
    loss = Column(name="visual_loss", meaning="", direction="lower", role="loss", weight=1)
    best = rank_by(rows, described(loss, SCALED, REAL, SHUFFLED)).best
    assert best
    assert best.step == chosen


def test_without_a_guard_every_candidate_may_be_shipped_and_with_two_each_counts():
    loss = Column(name="visual_loss", meaning="", direction="lower", role="loss", weight=1)
    rows = {0: evaluation(), 100: evaluation(0.1, 1), 200: evaluation(0.3, 2, overrides={"clip_t": 0.1})}
    best = rank_by(rows, described(loss)).best
    assert best
    assert best.step == 200
    assert best.passes_guards
    guards = [
        Column(name=name, meaning="", direction=direction, role="guard", guard=Guard(fallen=f"fails {name}"))  # pyright: ignore
        for name, direction in (("clip_t", "higher"), ("color_loss", "lower"))
    ]
    rows[100] = evaluation(0.1, 1, overrides={"color_loss": 2.0})
    best = rank_by(rows, described(loss, *guards)).best
    assert best
    assert best.step == 200
    assert "But it fails clip_t, and no other snapshot passes every guard." in best.reason


def test_without_step_0_there_are_means_and_no_best():
    ranking = rank({100: evaluation(0.1)})
    assert ranking.best is None
    assert ranking.summaries[0].row()["visual_loss"] == pytest.approx(0.47, abs=0.02)
    assert rank({}).best is None


def test_a_verdict_needs_no_torch():
    code = "import evaluator.selection.ranking, sys; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def overfitting(gain: float, seed: int) -> list[Sample]:
    """Pictures of one prompt are one picture."""
    return evaluation(gain, seed, overrides={"seed_distance": 0.001})


def test_a_choice_that_was_learnt_by_heart_says_so():
    best = rank({0: evaluation(overrides={"seed_distance": 0.2}), 100: overfitting(0.3, 1)}).best
    assert best is not None
    assert "A sign of overfitting, diversity: " in best.reason


def varied(*snapshots: list[Sample]) -> Ranking:
    """A verdict over step 0, whose pictures of one prompt differ, and these snapshots, 100 steps apart."""
    base = evaluation(overrides={"seed_distance": 0.2})
    return rank({0: base} | {100 * n: rows for n, rows in enumerate(snapshots, 1)})


def healthy(gain: float, seed: int) -> list[Sample]:
    return evaluation(gain, seed, overrides={"seed_distance": 0.2})


def test_a_snapshot_with_a_sign_of_overfitting_is_passed_over_however_good_it_looks():
    best = varied(healthy(0.1, 1), healthy(0.2, 2), overfitting(0.4, 3), overfitting(0.4, 4)).best
    assert best is not None
    assert best.step == 200
    assert "Step 200 has the best smoothed composite of the 2 snapshots that may be shipped." in best.reason
    assert "Passed over: steps 300, 400, each of which shows a sign of overfitting (diversity)." in best.reason
    assert set(best.objections) == {300, 400}


def test_where_every_snapshot_shows_a_sign_none_is_passed_over():
    best = varied(overfitting(0.1, 1), overfitting(0.4, 2)).best
    assert best is not None
    assert (best.step, best.objections) == (200, {})
    assert "Step 200 has the best composite of 2 snapshots." in best.reason
    assert best.flagged
    assert best.reason.startswith(
        "No snapshot can be recommended: every one of the 2 evaluated shows a sign of overfitting. Step 200 has"
    )
    alone = varied(overfitting(0.1, 1)).best
    assert alone
    assert alone.reason.startswith("No snapshot can be recommended: the only one evaluated shows a sign of overfitting")


def test_guards_that_all_snapshots_fail_and_signs_beside_them_are_said_first():
    adrift = evaluation(0.3, 1, overrides={"seed_distance": 0.2, "clip_t": 0.1})
    best = varied(adrift, evaluation(0.1, 2, overrides={"seed_distance": 0.2, "clip_t": 0.1})).best
    assert best
    assert best.reason.startswith(
        "No snapshot can be recommended: every one of the 2 evaluated fails a guard. Step 100"
    )
    best = varied(adrift, overfitting(0.1, 2), overfitting(0.2, 3)).best
    assert best
    assert "every one of the 3 evaluated fails a guard or shows a sign of overfitting. Step 300 has" in best.reason
    assert "of the 2 snapshots that pass every guard" in best.reason
    best = varied(adrift, overfitting(0.1, 2)).best
    assert best
    assert "Step 200 is the only one of 2 snapshots that passes every guard." in best.reason
    healthy_one = varied(adrift, healthy(0.1, 2)).best
    assert healthy_one
    assert not healthy_one.flagged


def test_pairs_of_one_caption_are_not_called_prompts():
    rows = {0: evaluation(), 100: evaluation(0.3, 1)}
    rows = {step: [sample.model_copy(update={"prompt": "sks dress"}) for sample in rows[step]] for step in rows}
    ranking = rank(rows)
    assert ranking.one_prompt
    assert ranking.best
    assert "Over 8 held-out pairs of one prompt it is better than the base model" in ranking.best.reason


def test_a_guard_counts_for_more_than_a_sign():
    adrift = evaluation(0.3, 1, overrides={"seed_distance": 0.2, "clip_t": 0.1})
    best = varied(adrift, overfitting(0.3, 2)).best
    assert best is not None
    assert best.step == 200
    assert "Passed over: step 100, which follows its prompts less than the base model does." in best.reason


def test_the_base_model_has_no_signs_of_overfitting():
    ranking = rank({0: evaluation(overrides={"seed_distance": 0.2}), 100: overfitting(0.3, 1)})
    assert [summary.raised for summary in ranking.summaries] == [(), ("diversity",)]


def test_held_out_losses_stand_at_their_own_step_only():
    ranking = rank({0: evaluation(), 100: evaluation(0.1, 1)}, validations=[Validated(90, 0.2, 0.01)])
    assert ranking.summaries[1].row()["val_loss"] is None
    ranking = rank({0: evaluation(), 100: evaluation(0.1, 1)}, validations=[Validated(100, 0.2, 0.01)])
    assert [ranking.summaries[1].row()[column] for column in ("val_loss", "gap")] == [0.2, 0.01]


def test_a_base_model_compared_with_itself_shows_no_difference_in_nearly_all_runs():
    coloured = alone = 0
    for seed in range(60):
        rows = {100 * number: evaluation(0, 1000 * seed + number, noise=0.02, spread=0) for number in range(11)}
        for step in rows:
            rows[step] = [s.model_copy(update={"metrics": {**s.metrics, "clip_t": 0.3}}) for s in rows[step]]
        ranking = rank(rows)
        coloured += any(ranking.sure(summary) for summary in ranking.summaries)
        by_themselves = (estimate(summary.composite.values()) for summary in ranking.candidates)
        alone += any(found and (found.is_above_zero or found.is_below_zero) for found in by_themselves)
    assert coloured <= 6
    assert alone >= 15, "as intervals of one snapshot would have it"


def test_what_is_called_better_is_what_a_chart_colours():
    ranking = run_of(0.05, 0.1, 0.2)
    best = ranking.best
    assert best
    chosen = next(summary for summary in ranking.summaries if summary.step == best.step)
    sure = {metric for metric, delta in best.deltas.items() if delta.is_below_zero or delta.is_above_zero}
    assert set(ranking.sure(chosen)) - {"composite"} == sure
    assert best.better_than_base == ("composite" in ranking.sure(chosen))
    assert ranking.sure(ranking.summaries[0]) == ()


def test_the_table_has_the_intervals_that_the_verdict_has():
    ranking = run_of(0.05, 0.1, 0.2)
    best = ranking.best
    assert best
    row = ranking.row(next(summary for summary in ranking.summaries if summary.step == best.step))
    for name, told in {**best.deltas, "composite": best.composite}.items():
        middle = name if name == "composite" else f"{name}_delta"
        assert (row[middle], row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx((told.mean, told.low, told.high))


def test_step_0_stands_in_for_the_real_pictures_in_the_guards_unit_where_there_is_none():
    guard = Guard(real="real", shuffled="shuffled", fallen="")
    column = Column(name="score", meaning="", direction="higher", role="guard", guard=guard)
    real = Sample(prompt_id="a", metrics={"score": 0.9, "real": 0.5, "shuffled": 0.1})
    alone = Sample(prompt_id="b", has_reference=False, metrics={"score": 0.3, "shuffled": 0.1})
    assert guard_unit([real], column) == pytest.approx(0.4)
    assert guard_unit([alone], column) == pytest.approx(0.2)
    assert guard_unit([real, alone], column) == pytest.approx(0.3)


def test_a_prompt_without_a_reference_is_judged_by_the_losses_that_need_none():
    paired = Column(name="paired_loss", meaning="", direction="lower", role="loss", weight=0.5)
    alone = Column(name="alone_loss", meaning="", direction="lower", role="loss", weight=1, without_reference=True)
    metrics = MetricDescriptions(
        metrics=(
            MetricDescription(name="paired", needs=("references",), columns=(paired,)),
            MetricDescription(name="alone", needs=("training",), columns=(alone,)),
        )
    )

    def drawn(paired_gain: float, alone_gain: float) -> list[Sample]:
        rows = []
        for number in range(6):
            real = number < 3
            values = {"alone_loss": 1.0 + 0.1 * number - alone_gain}
            values |= {"paired_loss": 1.0 + 0.1 * number - paired_gain} if real else {}
            rows.append(Sample(prompt_id=f"p{number}", has_reference=real, metrics=values))  # pyright: ignore
        return rows

    found = rank_by({0: drawn(0, 0), 10: drawn(0.5, 0.1)}, metrics)
    composite = found.summaries[1].composite
    units = found.scales
    assert [composite[f"p{number}"] for number in range(6)] == pytest.approx(
        [-0.5 / units["paired_loss"]] * 3 + [-0.1 / units["alone_loss"]] * 3
    )
    assert found.weights == {"paired_loss": 1, "alone_loss": 1}
    assert not found.no_references
    only_own = rank_by({step: rows[3:] for step, rows in {0: drawn(0, 0), 10: drawn(0, 0.1)}.items()}, metrics)
    assert only_own.no_references
    assert only_own.best
    assert only_own.best.better_than_base


def test_a_loss_that_counts_everywhere_is_weighed_beside_those_that_compare_and_alone_without_a_reference():
    paired = Column(name="paired_loss", meaning="", direction="lower", role="loss", weight=1)
    always = Column(name="always_loss", meaning="", direction="lower", role="loss", weight=3, everywhere=True)
    base = [Sample(prompt_id="a", metrics={}), Sample(prompt_id="b", has_reference=False, metrics={})]
    mixture = mix([paired, always], {"paired_loss": 1.0, "always_loss": 1.0}, base)
    assert mixture.of("a") == {"paired_loss": 0.25, "always_loss": 0.75}
    assert mixture.of("b") == {"always_loss": 1.0}
