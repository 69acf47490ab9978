"""metrics.csv and best.json follow from the results alone."""

from __future__ import annotations

import re

import pytest

from evaluator import results_table as bookkeeping
from evaluator.results_table import ResultsTable, publish_descriptions
from shared.run_folder import requests
from shared.run_folder.metric_descriptions import Column, MetricDescription, MetricDescriptions, Ratio, Sign
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.evaluation_result import Anchors, EvaluationResult, Sample
from shared.run_folder.run_dir import RunDir, step_name
from shared.run_folder.tables import read_rows
from tests.conftest import RunMaker

LOSSES = ("visual_loss", "fashion_clip_loss", "color_loss")


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


def add(run: RunDir, step: int, *losses: float, **changes: object) -> None:
    """A result of one picture for each loss given."""
    result = result_of(step, *losses, **changes)
    run.evaluation(step).mkdir()
    result.write(run.evaluation(step) / "result.json")


def result_of(step: int, *losses: float, **changes: object) -> EvaluationResult:
    samples = tuple(
        Sample(
            prompt_id=f"p{number}",
            prompt="a dress",
            seed=1,
            image=f"{number}.png",
            batch=0,
            metrics={**dict.fromkeys(LOSSES, loss), "clip_t": 0.3 - 0.01 * number},
        )
        for number, loss in enumerate(losses)
    )
    training = {"epoch": step / 10, "loss": 0.125, "learning_rate": 1e-4} if step else {"epoch": 0}
    fields: dict[str, object] = {"status": "ok", "samples": samples, "training": training, **changes}
    return EvaluationResult.model_validate(
        {"run_id": "r", "step": step, "seconds": {"swap": 1.0, "score": 0.5}, **fields}
    )


def test_there_is_one_row_for_every_result_by_step(run: RunDir) -> None:
    for step in (40, 0, 20):
        add(run, step, 0.5, 0.7, 0.6)
    ResultsTable(run).rebuild()
    rows = read_rows(run.metrics_csv)
    assert [row["step"] for row in rows] == ["0", "20", "40"]
    assert run.metrics_csv.read_text().startswith(
        "step,epoch,total_loss,visual_loss,fashion_clip_loss,color_loss,learning_rate,timestamp,"
    )


def test_the_tables_follow_the_descriptions_that_the_evaluator_publishes(run: RunDir) -> None:
    assert run.read_metric_descriptions() == OLDER_METRICS, "of a run that says nothing"
    new = Column(name="sharpness", meaning="", direction="higher", role="loss", weight=1)
    sharper = (*OLDER_METRICS.metrics, MetricDescription(name="sharpness", columns=(new,)))
    publish_descriptions(run, MetricDescriptions(metrics=sharper))
    for step, sharpness in ((0, 0.2), (20, 0.9)):
        result = result_of(step, 0.5, 0.7, 0.6)
        samples = [
            sample.model_copy(update={"metrics": {**sample.metrics, "sharpness": sharpness + 0.01 * number}})
            for number, sample in enumerate(result.samples)
        ]
        add(run, step, samples=tuple(samples))
    ResultsTable(run).rebuild()
    row, best = read_rows(run.metrics_csv)[1], run.read_best()
    assert (float(row["sharpness"]), float(row["sharpness_delta"])) == pytest.approx((0.91, 0.7))
    assert float(row["composite"]) == pytest.approx(-0.5 * 0.7 / (0.25 * 0.21)), "the other losses are the same"
    assert best
    assert "sharpness +0.700" in best.reason
    written = run.metric_descriptions.stat().st_mtime_ns
    publish_descriptions(run, MetricDescriptions(metrics=sharper))
    assert run.metric_descriptions.stat().st_mtime_ns == written


def test_what_another_version_has_computed_stays_in_the_table_without_a_say(run: RunDir) -> None:
    for step, loss in ((0, 0.5), (20, 0.25)):
        result = result_of(step, loss, loss, loss)
        further = {"sharpness": 0.5 + step, "near": 0.25, "far": 0.5}
        samples = [one.model_copy(update={"metrics": {**one.metrics, **further}}) for one in result.samples]
        add(run, step, samples=tuple(samples))
    former = MetricDescription(
        name="former",
        columns=(
            Column(name="sharpness", meaning="", direction="lower", role="loss", weight=9),
            *(Column(name=name, meaning="", direction="none", role="recorded") for name in ("near", "far")),
            Column(
                name="nearness",
                meaning="",
                direction="higher",
                role="overfitting",
                ratio=Ratio(of="near", over="far"),
                sign=Sign(name="nearness", limit=0.8, evidence="{value} {limit}", unknown="unknown"),
            ),
            Column(name="never", meaning="", direction="lower", role="listed"),
        ),
    )
    publish_descriptions(run, MetricDescriptions(metrics=(*OLDER_METRICS.metrics, former)))
    ResultsTable(run).rebuild()
    before = read_rows(run.metrics_csv)
    assert before[1]["signals"] == "nearness"
    assert publish_descriptions(run, OLDER_METRICS)
    ResultsTable(run).rebuild()
    after = read_rows(run.metrics_csv)
    own = {"signals", "sure", "sharpness_skill", "never", "composite"}
    own |= {name for name in before[1] if name.endswith(("_low", "_high"))}
    assert [{k: v for k, v in row.items() if k not in own} for row in after] == [
        {k: v for k, v in row.items() if k not in own} for row in before
    ]
    assert "never" not in after[1]
    assert after[1]["signals"] == ""
    assert float(after[1]["composite"]) < 0 < float(before[1]["composite"])
    assert not publish_descriptions(run, OLDER_METRICS), "it stays"


def test_a_row_holds_means_differences_and_the_trainers_numbers(run: RunDir) -> None:
    add(run, 0, 0.5, 0.75)
    add(run, 20, 0.25, 0.5)
    ResultsTable(run).rebuild()
    row = read_rows(run.metrics_csv)[1]
    assert (row["epoch"], row["total_loss"], row["learning_rate"]) == ("2.0", "0.125", "0.0001")
    assert float(row["visual_loss"]) == pytest.approx(0.375)
    assert float(row["visual_loss_delta"]) == pytest.approx(-0.25)
    assert (row["status"], row["reason"], row["evaluation_seconds"]) == ("ok", "", "1.5")


def test_a_failed_result_is_a_row_with_its_reason_and_no_numbers(run: RunDir) -> None:
    add(run, 0, 0.5, 0.75)
    add(run, 20, status="failed", reason="the file is truncated, badly")
    ResultsTable(run).rebuild()
    row = read_rows(run.metrics_csv)[1]
    assert (row["status"], row["reason"]) == ("failed", "the file is truncated, badly")
    assert row["total_loss"] == "0.125"
    assert {row[column] for column in (*LOSSES, "clip_t", "composite")} == {""}
    assert run.read_best() is None


def test_a_metric_that_could_not_be_computed_is_blank_with_its_reason(run: RunDir) -> None:
    add(run, 0, 0.5, 0.75, missing={"clip_t": "no network"})
    ResultsTable(run).rebuild()
    assert read_rows(run.metrics_csv)[0]["reason"] == "clip_t: no network"


def test_metrics_that_are_blank_for_the_same_reason_share_it(run: RunDir) -> None:
    missing = {"visual_loss": "no network", "clip_t": "two captions only", "color_loss": "no network"}
    add(run, 0, 0.5, 0.75, missing=missing)
    ResultsTable(run).rebuild()
    reason = read_rows(run.metrics_csv)[0]["reason"]
    assert reason == "visual_loss, color_loss: no network; clip_t: two captions only"


def test_differences_of_numbers_computed_in_two_ways_are_blank_with_the_reason(run: RunDir) -> None:
    for step, loss, method in ((0, 0.5, "1"), (20, 0.4, "1"), (40, 0.3, "2")):
        add(run, step, loss, loss, loss, encoders={"color_loss": {"model": "palette", "revision": method}})
    ResultsTable(run).rebuild()
    _, former, later = read_rows(run.metrics_csv)
    for row in (former, later):
        assert (row["color_loss"] != "", row["color_loss_delta"], row["visual_loss_delta"] != "") == (True, "", True)
        assert row["reason"].startswith("differences of color_loss: another version or encoder computed it for some")


def test_the_best_snapshot_is_named_with_its_reason(run: RunDir) -> None:
    add(run, 0, 0.50, 0.70, 0.60, 0.55)
    add(run, 20, 0.49, 0.70, 0.59, 0.55)
    add(run, 40, 0.20, 0.41, 0.30, 0.24)
    ResultsTable(run).rebuild()
    best = run.read_best()
    assert best
    assert (best.step, best.snapshot, best.num_evaluated) == (40, "snapshots/step-00000040", 2)
    assert best.better_than_base
    assert best.deltas["visual_loss"].high < 0
    assert best.metrics["visual_loss"] == pytest.approx(0.2875)
    assert "Step 40" in best.reason


def test_rebuilding_changes_nothing_when_nothing_is_new(run: RunDir) -> None:
    add(run, 0, 0.5, 0.7)
    add(run, 20, 0.4, 0.5)
    results_table = ResultsTable(run)
    results_table.rebuild()
    first = run.metrics_csv.read_bytes()
    results_table.rebuild()
    ResultsTable(run).rebuild()
    assert run.metrics_csv.read_bytes() == first


def test_an_evaluation_folder_without_a_result_is_no_row(run: RunDir) -> None:
    add(run, 0, 0.5, 0.7)
    run.evaluation(20).mkdir()
    ResultsTable(run).rebuild()
    assert [row["step"] for row in read_rows(run.metrics_csv)] == ["0"]


def test_a_run_without_results_has_an_empty_table(run: RunDir) -> None:
    ResultsTable(run).rebuild()
    assert read_rows(run.metrics_csv) == []
    assert run.metrics_csv.read_text().startswith("step,epoch,")


ENDS = {"visual_loss": Anchors(shuffled=0.6, real=0.1)}


def test_best_carries_the_scale_the_skill_the_signals_and_the_advice(run: RunDir) -> None:
    add(run, 0, 0.50, 0.70, 0.60, 0.55, anchors={loss: ends.model_dump() for loss, ends in ENDS.items()})
    add(run, 20, 0.20, 0.41, 0.30, 0.24)
    ResultsTable(run).rebuild()
    best = run.read_best()
    assert best
    ends = best.anchors["visual_loss"]
    assert (ends.step_0, ends.shuffled, ends.real) == (pytest.approx(0.5875), 0.6, 0.1)
    assert best.skill["visual_loss"].value == pytest.approx((0.6 - 0.2875) / 0.5)
    assert best.skill["visual_loss"].low < best.skill["visual_loss"].value < best.skill["visual_loss"].high
    assert [signal.name for signal in best.signals] == ["gap", "diversity", "copying"]
    assert (best.latest_step, best.latest_signals) == (20, best.signals)
    assert best.advice
    assert best.advice.action == "continue"
    row = read_rows(run.metrics_csv)[1]
    assert float(row["visual_loss_skill"]) == pytest.approx(best.skill["visual_loss"].value)


def test_held_out_losses_come_from_the_trainers_table(make_paper_run: RunMaker) -> None:
    run = make_paper_run(train={"validation_steps": 20})
    for step in (0, 20, 40):
        add(run, step, 0.5, 0.7)
    (run.path / "validation.csv").write_text("step,held_out_loss,train_probe_loss,gap\n20,0.25,0.2,0.05\n40,0.2")
    ResultsTable(run).rebuild()
    rows = read_rows(run.metrics_csv)
    assert (rows[1]["val_loss"], rows[1]["gap"]) == ("0.25", "0.05")
    assert (rows[2]["val_loss"], rows[2]["gap"]) == ("", "")
    assert "val_loss: the trainer has not validated at this step" in rows[2]["reason"]


def plateau(run: RunDir) -> None:
    """A base model and eight equal snapshots."""
    add(run, 0, 0.50, 0.70, 0.60, 0.55)
    for step in range(20, 180, 20):
        add(run, step, 0.20, 0.41, 0.30, 0.24)


@pytest.fixture
def living_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookkeeping, "is_alive", lambda status: True)


@pytest.mark.usefixtures("living_trainer")
def test_the_automatic_rule_stops_a_plateau_once_and_a_resumed_run_goes_on(make_paper_run: RunMaker) -> None:
    run = make_paper_run(stop={"rule": "auto"}, train={"max_train_steps": 200})
    plateau(run)
    ResultsTable(run).rebuild()
    (request,) = requests.open_requests(run)
    assert request.by == "stop rule"
    best = run.read_best()
    assert best
    assert best.advice
    assert "the remaining 40 steps will hardly improve the composite" in best.advice.reason
    requests.answer(run, request, "stopped", 160)
    add(run, 180, 0.20, 0.41, 0.30, 0.24)
    ResultsTable(run).rebuild()
    assert requests.open_requests(run) == []


@pytest.mark.usefixtures("living_trainer")
@pytest.mark.parametrize("rule", ["advise", "off"])
def test_a_rule_that_may_not_act_asks_for_nothing(make_paper_run: RunMaker, rule: str) -> None:
    run = make_paper_run(stop={"rule": rule}, train={"max_train_steps": 200})
    plateau(run)
    ResultsTable(run).rebuild()
    assert requests.requests(run) == []
    best = run.read_best()
    assert best
    assert best.advice
    assert best.advice.action == {"advise": "advise", "off": "continue"}[rule]


def test_nobody_is_asked_to_stop_when_no_trainer_is_at_work(make_paper_run: RunMaker) -> None:
    run = make_paper_run(stop={"rule": "auto"})
    plateau(run)
    ResultsTable(run).rebuild()
    assert requests.requests(run) == []


def test_both_evaluations_together_have_the_last_word(make_paper_run: RunMaker) -> None:
    run = make_paper_run(evaluation={"confirm_prompts": 4})
    add(run, 0, 0.50, 0.70, 0.60, 0.55)
    add(run, 20, 0.30, 0.51, 0.40, 0.34)
    add(run, 40, 0.20, 0.42, 0.30, 0.24)
    again = {0: (0.6, 0.55, 0.5, 0.4), 20: (0.1, 0.06, 0.0, 0.0), 40: (0.4, 0.34, 0.3, 0.2)}
    for number, (step, losses) in enumerate(again.items()):
        folder = run.path / "confirmations" / step_name(step)
        folder.mkdir(parents=True)
        best = run.read_best() if number else None
        assert best is None or best.step == 40, "nothing changes before all are evaluated"
        result = result_of(step, *losses)
        samples = tuple(sample.model_copy(update={"seed": 2}) for sample in result.samples)
        result.model_copy(update={"samples": samples}).write(folder / "result.json")
        ResultsTable(run).rebuild()
    best = run.read_best()
    assert best
    assert (best.step, best.snapshot) == (20, "snapshots/step-00000020")
    assert best.confirmation
    assert best.confirmation.finalists == (20, 40)
    assert best.metrics["visual_loss"] == pytest.approx(0.3875)
    counts, _, rest = best.reason.partition(" The final chose step 20 over step 40, which had the best composite of 2 ")
    assert re.fullmatch(r"Over 4 held-out pairs of one prompt of both evaluations step 20 is .* \(.* to .*\)\.", counts)
    assert " The first evaluation alone, over 4 held-out pairs of one prompt: composite -" in rest
    assert "better than the base model" not in rest, "the first evaluation contradicts nothing"
    assert "with 1 new seed on the same 4 held-out pairs of one prompt. Both evaluations together choose step 20" in (
        best.reason
    )


def test_votes_that_do_not_count_are_named_in_the_log_once(run: RunDir, caplog: pytest.LogCaptureFixture) -> None:
    run.votes.mkdir()
    (run.votes / "anna.jsonl").write_bytes(b"\xff\xfe\n")
    table = ResultsTable(run)
    table.rebuild()
    table.rebuild()
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "not counted: votes/anna.jsonl: none of its lines is a vote of Darkroom"
    ]
