"""metrics.csv and best.json follow from the results alone."""

from __future__ import annotations

import pytest

from evaluator.ledger import Ledger
from shared.records import EvaluationResult, Sample
from shared.rundir import RunDir
from shared.tables import LEADING_METRIC_COLUMNS, read_rows
from tests.conftest import RunMaker

LOSSES = ("visual_loss", "fashion_clip_loss", "color_loss")


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


def add(run: RunDir, step: int, *losses: float, **changes: object) -> None:
    """A result of one picture for each loss given."""
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
    run.evaluation(step).mkdir()
    EvaluationResult.model_validate(
        {"run_id": "r", "step": step, "seconds": {"swap": 1.0, "score": 0.5}, **fields}
    ).write(run.evaluation(step) / "result.json")


def test_there_is_one_row_for_every_result_by_step(run: RunDir) -> None:
    for step in (40, 0, 20):
        add(run, step, 0.5, 0.7, 0.6)
    Ledger(run).rebuild()
    rows = read_rows(run.metrics_csv)
    assert [row["step"] for row in rows] == ["0", "20", "40"]
    assert run.metrics_csv.read_text().startswith(",".join(LEADING_METRIC_COLUMNS) + ",")


def test_a_row_holds_means_differences_and_the_trainers_numbers(run: RunDir) -> None:
    add(run, 0, 0.5, 0.75)
    add(run, 20, 0.25, 0.5)
    Ledger(run).rebuild()
    row = read_rows(run.metrics_csv)[1]
    assert (row["epoch"], row["total_loss"], row["learning_rate"]) == ("2.0", "0.125", "0.0001")
    assert float(row["visual_loss"]) == pytest.approx(0.375)
    assert float(row["visual_loss_delta"]) == pytest.approx(-0.25)
    assert (row["status"], row["reason"], row["evaluation_seconds"]) == ("ok", "", "1.5")


def test_a_failed_result_is_a_row_with_its_reason_and_no_numbers(run: RunDir) -> None:
    add(run, 0, 0.5, 0.75)
    add(run, 20, status="failed", reason="the file is truncated, badly")
    Ledger(run).rebuild()
    row = read_rows(run.metrics_csv)[1]
    assert (row["status"], row["reason"]) == ("failed", "the file is truncated, badly")
    assert row["total_loss"] == "0.125"
    assert {row[column] for column in (*LOSSES, "clip_t", "composite")} == {""}
    assert run.read_best() is None


def test_a_metric_that_could_not_be_computed_is_blank_with_its_reason(run: RunDir) -> None:
    add(run, 0, 0.5, 0.75, blanks={"clip_t": "no network"})
    Ledger(run).rebuild()
    assert read_rows(run.metrics_csv)[0]["reason"] == "clip_t: no network"


def test_the_best_snapshot_is_named_with_its_reason(run: RunDir) -> None:
    add(run, 0, 0.50, 0.70, 0.60, 0.55)
    add(run, 20, 0.49, 0.70, 0.59, 0.55)
    add(run, 40, 0.20, 0.41, 0.30, 0.24)
    Ledger(run).rebuild()
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
    ledger = Ledger(run)
    ledger.rebuild()
    first = run.metrics_csv.read_bytes()
    ledger.rebuild()
    Ledger(run).rebuild()
    assert run.metrics_csv.read_bytes() == first


def test_an_evaluation_folder_without_a_result_is_no_row(run: RunDir) -> None:
    add(run, 0, 0.5, 0.7)
    run.evaluation(20).mkdir()
    Ledger(run).rebuild()
    assert [row["step"] for row in read_rows(run.metrics_csv)] == ["0"]


def test_a_run_without_results_has_an_empty_table(run: RunDir) -> None:
    Ledger(run).rebuild()
    assert read_rows(run.metrics_csv) == []
    assert run.metrics_csv.read_text().startswith("step,epoch,")
