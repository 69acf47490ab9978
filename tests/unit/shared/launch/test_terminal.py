"""What a person reads at the end of a run."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from shared.errors import DataError
from shared.files.publication import MANIFEST, publish
from shared.launch.left import named
from shared.launch.terminal import Terminal, describe_result, summarise
from shared.run_folder.averages import averaged
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.best import Best, Interval
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.manifest import FileEntry, Manifest
from shared.run_folder.records.run_record import Imported
from shared.run_folder.run_dir import RunDir, step_name, strength_kind
from shared.run_folder.tables import read_rows, write_rows
from tests.conftest import RunMaker


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run()


def summary(run: RunDir) -> str:
    text = io.StringIO()
    summarise(run, Console(file=text, width=200, highlight=False))
    return text.getvalue()


def best(**changes: object) -> Best:
    return Best.model_validate(
        {
            "step": 40,
            "snapshot": "snapshots/step-00000040",
            "reason": "Step 40 [is] the best.",
            "better_than_base": True,
            "num_evaluated": 3,
            "metrics": {"visual_loss": 0.25, "clip_t": 0.3},
            "deltas": {"visual_loss": Interval(delta=-0.125, low=-0.25, high=-0.0625)},
            **changes,
        }
    )


def test_the_summary_shows_the_best_snapshot_against_the_base_model(run: RunDir) -> None:
    best().write(run.best)
    run.snapshot(40).mkdir()
    file = run.snapshot(40) / "pytorch_lora_weights.safetensors"
    file.touch()
    text = summary(run)
    assert "Best snapshot: step 40" in text
    assert "not evaluated" not in text
    row = next(line for line in text.splitlines() if "visual_loss" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "visual_loss",
        "0.375",
        "0.250",
        "-0.125",
        "-0.250 … -0.062",
    ]
    assert "Step 40 [is] the best." in text
    assert f"file: {file}\n" in text


def test_a_metric_without_value_leaves_its_cells_blank(run: RunDir) -> None:
    best(metrics={"visual_loss": None}).write(run.best)
    row = next(line for line in summary(run).splitlines() if "visual_loss" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")][1:3] == ["", ""]


def test_a_run_without_verdict_says_so(run: RunDir) -> None:
    assert summary(run) == "", "there is nothing to evaluate"
    publish(
        run.staging,
        run.snapshot(2),
        Manifest(kind="snapshot", run_id=run.read_record().run_id, step=2),
        lambda folder: None,
    )
    assert summary(run).startswith("No snapshot is evaluated yet; `python run.py evaluate ")
    for step in (0, 2):
        run.evaluation(step).mkdir()
    rows = [{"step": 0, "status": "ok"}, {"step": 2, "status": "failed", "reason": "a weight is not finite"}]
    write_rows(run.metrics_csv, OLDER_METRICS.header, rows)
    assert summary(run) == "step 2 could not be evaluated: a weight is not finite\n"
    write_rows(run.metrics_csv, OLDER_METRICS.header, [rows[0], {"step": 2, "status": "ok"}])
    assert summary(run).startswith("There is no verdict: `python run.py verdict ")


def write_metrics(run: RunDir, *rows: dict[str, str | float]) -> None:
    write_rows(
        run.metrics_csv, OLDER_METRICS.header, [{"status": "ok", "evaluation_seconds": 1.5, **row} for row in rows]
    )


def test_a_result_is_described_in_one_line_with_its_differences(run: RunDir) -> None:
    write_metrics(
        run,
        {"step": 0, "visual_loss": 0.5, "visual_loss_delta": 0.0, "clip_t": 0.25},
        {"step": 40, "visual_loss": 0.25, "visual_loss_delta": -0.25},
    )
    base, trained = read_rows(run.metrics_csv)
    assert describe_result(trained, OLDER_METRICS) == "evaluated step 40: visual 0.250 (-0.250)  (1.5 s)"
    assert describe_result(base, OLDER_METRICS) == "evaluated base model: visual 0.500, clip t 0.250  (1.5 s)"
    write_metrics(run, {"step": 40, "clip_t": 0.15, "clip_t_delta": -0.1})
    (trained,) = read_rows(run.metrics_csv)
    assert "clip t 0.150 (-0.100, higher is better)" in describe_result(trained, OLDER_METRICS)


def test_a_failed_result_says_why(run: RunDir) -> None:
    write_metrics(run, {"step": 40, "status": "failed", "reason": "the file is truncated"})
    assert (
        describe_result(read_rows(run.metrics_csv)[0], OLDER_METRICS)
        == "step 40 could not be evaluated: the file is truncated"
    )
    row = {"step": 40, "status": "skipped", "reason": "evaluation.every is 3"}
    write_rows(run.metrics_csv, OLDER_METRICS.header, [row])
    assert describe_result(read_rows(run.metrics_csv)[0], OLDER_METRICS) == "step 40 was skipped: evaluation.every is 3"


def test_a_result_that_is_counted_in_epochs_is_told_so(run: RunDir) -> None:
    run.read_record().model_copy(update={"imported": Imported(folder="/loras", unit="epoch")}).write(run.record)
    write_metrics(run, {"step": 12, "status": "failed", "reason": "torn"})
    best(step=16).write(run.best)
    assert summary(run).startswith("epoch 12 could not be evaluated: torn\nBest snapshot: epoch 16")


def test_each_result_is_told_once(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal(run) as terminal:
        terminal.render()
        write_metrics(run, {"step": 0, "status": "failed", "reason": "[why]"})
        terminal.render()
        terminal.render()
    assert capsys.readouterr().out == "• base model could not be evaluated: [why]\n"


def test_every_picture_drawn_at_the_end_is_told(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    both = averaged(20, 40)
    assert both
    (run.confirmations / step_name(20)).mkdir(parents=True)
    with Terminal(run) as terminal:
        write_rows(
            run.averages_csv,
            OLDER_METRICS.header,
            [{"step": both, "status": "ok", "visual_loss": 0.25, "evaluation_seconds": 2.0}],
        )
        for step in (0, 40):
            (run.confirmations / step_name(step)).mkdir(parents=True)
        (run.path / strength_kind(0.8) / step_name(40)).mkdir(parents=True)
        left_out = run.path / strength_kind(0.6) / step_name(40)
        left_out.mkdir(parents=True)
        skipped = EvaluationResult(run_id="one", step=40, status="skipped", snapshot_digest="")
        skipped.write(left_out / "result.json")
        terminal.render()
        terminal.render()
    assert capsys.readouterr().out.splitlines() == [
        "• evaluated step 20–40: visual 0.250  (2.0 s)",
        "• evaluated again: base model",
        "• evaluated again: step 40",
        "• drawn at strength 0.8: step 40",
    ]


def test_a_notice_of_the_trainer_is_printed_once_and_an_earlier_sessions_never(run: RunDir) -> None:
    with hold_role(run, "trainer") as status:
        status.notice("checkpoint of step 2 is damaged")
    terminal = Terminal(run)
    text = terminal.console.file = io.StringIO()
    terminal.render()
    assert text.getvalue() == ""
    with hold_role(run, "trainer") as status:
        for notice in ("step 5 skipped: loss nan", "step 9 skipped: loss nan"):
            status.notice(notice)
            terminal.render()
            terminal.render()
    told = [line for line in text.getvalue().splitlines() if "loss" in line]
    assert told == ["• step 5 skipped: loss nan", "• step 9 skipped: loss nan"]


def test_what_the_run_will_take_on_disk_is_said_once(run: RunDir) -> None:
    terminal = Terminal(run)
    text = terminal.console.file = io.StringIO()
    with hold_role(run, "trainer") as status:
        status.update("training", forecast="this run will take about 2.0 GiB on disk, 100.0 MiB for each snapshot")
        terminal.render()
        terminal.render()
    assert text.getvalue().count("about 2.0 GiB on disk") == 1


def test_what_the_command_has_said_before_is_not_said_again(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(run, ["dress has no number"])
    with hold_role(run, "trainer") as status:
        status.notice("dress has no number")
        status.notice("found step 5")
        terminal.render()
    assert capsys.readouterr().out == "• found step 5\n"


def test_the_progress_is_told_once_the_number_of_steps_is_known(
    run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal(run)
    with hold_role(run, "trainer") as status:
        terminal.render()
        status.update("preparing", total=6, message="loading")
        terminal.render()
    assert capsys.readouterr().out == "• step 0/6  loading\n"


def test_an_earlier_sessions_failure_is_not_shown_as_this_ones(run: RunDir) -> None:
    for role in ("trainer", "evaluator"):
        with pytest.raises(DataError), hold_role(run, role):  # type: ignore[arg-type]
            raise DataError("the disk was full")
    text = io.StringIO()
    terminal = Terminal(run)
    Console(file=text, width=200).print(terminal._panel(terminal._trainer()))
    assert "the disk was full" not in text.getvalue()
    assert text.getvalue().count("starting") == 2
    with hold_role(run, "trainer") as status:
        status.update("training", step=3, total=6)
        assert terminal._trainer() is not None


def test_what_was_said_before_the_trainer_started_is_not_said_again(
    run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal(run)
    terminal.say("2 of 3 captions are too long")
    with hold_role(run, "trainer") as status:
        status.notice("2 of 3 captions are too long")
        status.notice("the disk is small")
        terminal.render()
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["• 2 of 3 captions are too long", "• the disk is small"]
    assert "• 2 of 3 captions are too long" not in said[2:]


def test_averages_and_what_is_evaluated_again_are_not_counted_as_a_persons_files(make_paper_run: RunMaker) -> None:
    run = make_paper_run(evaluation={"strengths": [0.8]})
    write_rows(run.metrics_csv, OLDER_METRICS.header, [{"step": 0}, {"step": 40}])
    best(averages=[averaged(20, 60)], finalists=[20, 40, 60]).write(run.best)
    text = summary(run)
    assert "Best snapshot so far: step 40" in text
    assert "not evaluated: 1 average, the final of the best 3, strengths of the best" in text
    best(strengths=[0.8]).write(run.best)
    assert "not evaluated: strengths of the best" in summary(run)


def test_a_flagged_choice_and_cautions_are_said_at_the_end(run: RunDir) -> None:
    best(flagged=True, cautions=["All held-out pairs have the same [prompt]."]).write(run.best)
    text = summary(run)
    assert "Best snapshot: step 40, but no snapshot can be recommended" in text
    assert "caution: All held-out pairs have the same [prompt]." in text


def test_a_best_that_is_not_sure_is_said_at_the_end_beside_those_that_are(run: RunDir) -> None:
    best(better_than_base=False, proven=[80, 60]).write(run.best)
    text = " ".join(summary(run).split())
    assert "Best snapshot: step 40, not shown to be better than the base model; steps 60, 80 are" in text
    best(better_than_base=False).write(run.best)
    assert "steps" not in " ".join(summary(run).split()).partition(" difference ")[0]


def test_a_best_file_that_its_trainer_has_deleted_is_told(run: RunDir) -> None:
    gone = run.path / "output" / "dress.safetensors"
    folder = run.snapshot(2)
    folder.mkdir(parents=True)
    (folder / gone.name).symlink_to(gone)
    Best(
        step=2, snapshot="snapshots/step-00000002", reason="It is best.", num_evaluated=1, better_than_base=True
    ).write(run.best)
    before, _, after = summary(run).partition("Best snapshot: step 2")
    assert before.startswith(f"caution: step 2 cannot be shipped or exported: {gone} has been deleted or moved; if")
    assert "file:" not in after
    gone.parent.mkdir()
    gone.touch()
    assert "caution" not in summary(run)
    assert f"file: {gone}\n" in summary(run)
    manifest = Manifest(kind="snapshot", run_id="r", step=2, files=(FileEntry(name=gone.name, size=7, sha256=""),))
    manifest.write(folder / MANIFEST)
    before, _, after = summary(run).partition("Best snapshot: step 2, whose file is not there as it was evaluated")
    assert before.startswith(f"caution: step 2 cannot be shipped or exported: {gone} is no longer the LoRA that was")
    assert "file:" not in after


def test_the_base_model_is_not_counted_as_a_snapshot() -> None:
    assert named({0, 20, 40}) == "the base model, 2 snapshots"
    assert named({0}) == "the base model"
    assert named({20}) == "1 snapshot"
    assert named(()) == ""
