"""`run.py verdict`: the verdict again, from the published numbers alone."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from evaluator.replay import NO_VERDICT, NOT_RECOMMENDED, main, parse_weights, remarks, replay, show
from evaluator.results_table import ResultsTable
from shared.errors import ConfigError, RunFolderError
from shared.files.publication import MANIFEST
from shared.run_folder.records.evaluation_result import Sample
from shared.run_folder.records.manifest import FileEntry, Manifest
from shared.run_folder.records.run_record import Imported
from shared.run_folder.run_dir import RunDir, open_run, step_name
from shared.run_folder.tables import read_rows
from tests.conftest import ROOT, RunMaker, paper_model, run_python
from tests.unit.evaluator.test_results_table import add, result_of

GOLDEN = ROOT / "tests" / "golden" / "folders"


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    """Three snapshots, confirmed."""
    run = make_paper_run(evaluation={"confirm_prompts": 4})
    add(run, 0, 0.50, 0.70, 0.60, 0.55)
    add(run, 20, 0.30, 0.51, 0.40, 0.34)
    add(run, 40, 0.20, 0.42, 0.30, 0.24)
    add(run, 60, status="failed", reason="torn")
    for step, losses in {0: (0.6, 0.55, 0.5), 20: (0.2, 0.16, 0.1), 40: (0.3, 0.24, 0.2)}.items():
        (run.path / "confirmations" / step_name(step)).mkdir(parents=True)
        result = result_of(step, *losses)
        samples = tuple(sample.model_copy(update={"seed": 2}) for sample in result.samples)
        result.model_copy(update={"samples": samples}).write(
            run.path / "confirmations" / step_name(step) / "result.json"
        )
    return run


def told(found: bytes) -> dict[str, object]:
    best = json.loads(found)["best"]
    assert "created" not in best
    return best


def test_a_replay_says_what_the_evaluator_wrote(run: RunDir) -> None:
    ResultsTable(run).rebuild()
    written = json.loads(run.best.read_text())
    written.pop("created")
    assert written["confirmation"] is not None
    assert told(replay(run).to_json()) == written


def test_a_replay_takes_another_preference(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    for step, gain in ((0, 0.0), (20, 0.3), (40, 0.301), (60, 0.302)):
        add(run, step, *(loss - gain + 0.02 * (step == other) for loss, other in ((0.5, 20), (0.7, 40), (0.6, 60))))
    found = [replay(run, prefer=prefer).best for prefer in (None, "best", "earliest")]
    assert [best.step for best in found if best] == [60, 60, 20]
    assert "Step 20 is the earliest of 3 snapshots that cannot be told from the best (step 60)" in found[2].reason  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["finished", "interrupted"])
def test_a_replay_of_an_older_folder_says_what_rebuilding_it_would_write(tmp_path: Path, name: str) -> None:
    run = open_run(Path(shutil.copytree(GOLDEN / name, tmp_path / name)))
    found = replay(run)
    ResultsTable(run).rebuild()
    written = run.read_best()
    assert (found.best is None) == (written is None)
    if found.best and written:
        assert found.best == written.model_copy(update={"created": found.best.created})


def test_the_command_prints_the_same_bytes_each_time_and_writes_nothing(run: RunDir) -> None:
    before = sorted(path for path in run.path.rglob("*"))
    command = (ROOT / "run.py", "verdict", run.path, "--json")
    first = run_python(*command)
    assert first.stdout.encode() == replay(run).to_json(), first.stderr
    assert sorted(path for path in run.path.rglob("*")) == before
    found = json.loads(first.stdout)
    assert (found["schema"], [row["step"] for row in found["snapshots"]]) == ("1.6", [0, 20, 40, 60])
    assert [row["status"] for row in found["snapshots"]] == ["ok", "ok", "ok", "failed"]
    assert {row["step"] for row in found["snapshots"] if row["eligible"]} == {20, 40}


def test_the_table_shows_what_the_choice_goes_by(make_paper_run: RunMaker) -> None:
    run, text = make_paper_run(), io.StringIO()
    for number, gain in enumerate((0.0, 0.1, 0.2, 0.25, 0.3)):
        add(run, 20 * number, *(loss - gain + 0.01 * (number == other) for other, loss in enumerate((0.5, 0.7, 0.6))))
    found = replay(run)
    show(found, Console(file=text, width=120, highlight=False))
    header, *lines = text.getvalue().splitlines()[1:7]
    assert re.split(r"  +", header.strip())[:5] == ["step", "smoothed", "composite", "95 % interval", "behind best"]
    chosen = next(row for row in found.snapshots if found.best and row.step == found.best.step)
    assert chosen.smoothed == min(row.smoothed for row in found.snapshots if row.smoothed is not None)
    assert chosen.smoothed is not None
    assert chosen.behind is None
    assert f"{chosen.smoothed:+.3f}" in next(line for line in lines if "ship this" in line)
    other = found.snapshots[1]
    assert other.smoothed is not None
    assert other.behind is not None
    assert other.behind.delta == pytest.approx(other.smoothed - chosen.smoothed, abs=1e-6)


def test_another_model_that_draws_is_named(make_paper_run: RunMaker, tmp_path: Path) -> None:
    other, text = paper_model(tmp_path / "other"), io.StringIO()
    run = make_paper_run("another", evaluation={"model": str(other)})
    add(run, 0, 0.5, 0.7, 0.6)
    add(run, 20, 0.4, 0.6, 0.5)
    show(replay(run), Console(file=text, width=400, highlight=False))
    assert f"Caution: Drawn with {other}, not with the model that learnt: the verdict holds" in text.getvalue()


def test_a_best_mean_without_proof_is_said_beside_those_that_are_surely_better(make_paper_run: RunMaker) -> None:
    run, text = make_paper_run(), io.StringIO()
    for step, losses in {0: (0.5, 0.7, 0.6), 20: (0.1, 0.1, 0.58), 40: (0.2, 0.39, 0.3), 60: (0.3, 0.49, 0.4)}.items():
        add(run, step, *losses)
    ResultsTable(run).rebuild()
    best = replay(run).best
    assert best
    assert (best.step, best.better_than_base, best.surer) == (20, False, (40, 60))
    assert best.gist != best.model_copy(update={"proven": ()}).gist
    assert "Steps 40, 60 are surely better than the base model, step 20 is not: take step 40, the best" in best.reason
    sure = {row["step"] for row in read_rows(run.metrics_csv) if "composite" in row["sure"].split()}
    assert sure == {"40", "60"}
    show(replay(run), Console(file=text, width=160, highlight=False))
    lines = {line.split()[0]: line for line in text.getvalue().splitlines()[2:6]}
    assert "the best, but not shown to be better" in lines["20"]
    assert all("surely better than step 0" in lines[step] and "… -" in lines[step] for step in ("40", "60"))
    assert "… +" in lines["20"].partition("the best")[0]


def test_a_choice_that_the_final_did_not_look_at_is_said(run: RunDir) -> None:
    add(run, 80, 0.25, 0.45, 0.35, 0.29)
    found = replay(run).best
    assert found
    assert found.confirmation is None
    assert any(
        caution.startswith("The final has looked at steps 20, 40, not yet at step 80") for caution in found.cautions
    )


def test_where_every_snapshot_is_flagged_programs_can_tell(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    for step, distance in ((0, 0.2), (20, 0.001), (40, 0.001)):
        add(
            run,
            step,
            samples=tuple(
                Sample(
                    prompt_id=f"p{n}",
                    prompt=f"dress {n}",
                    metrics={"visual_loss": 0.5 - 0.005 * step + 0.01 * n, "seed_distance": distance},
                )
                for n in range(4)
            ),
        )
    done = run_python(ROOT / "run.py", "verdict", run.path, "--json")
    best = json.loads(done.stdout)["best"]
    assert (done.returncode, best["flagged"]) == (NOT_RECOMMENDED, True), done.stderr
    assert best["reason"].startswith("No snapshot can be recommended: ")
    ResultsTable(run).rebuild()
    written = run.read_best()
    assert written
    assert written.flagged


def test_a_replay_needs_no_snapshot_and_no_picture(run: RunDir) -> None:
    expected = replay(run).to_json()
    for folder in (run.snapshots, run.checkpoints, run.references):
        shutil.rmtree(folder, ignore_errors=True)
    assert replay(run).to_json() == expected


def test_other_weights_choose_another_snapshot(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    for step, visual, colour in ((0, 0.5, 0.5), (20, 0.4, 0.1), (40, 0.1, 0.4)):
        shifted = [
            Sample(
                prompt_id=f"p{n}",
                prompt=f"dress {n}",
                metrics={"visual_loss": visual + 0.01 * n, "color_loss": colour + 0.01 * n, "drift": 0.1 * step},
            )
            for n in range(4)
        ]
        add(run, step, samples=tuple(shifted))
    steps = {
        name: found.best.step
        for name in ("visual_loss", "color_loss")
        if (found := replay(run, {"visual_loss": 0.0, "color_loss": 0.0, name: 1.0})).best
    }
    assert steps == {"visual_loss": 40, "color_loss": 20}
    assert replay(run, {"visual_loss": 0.6}).weights == pytest.approx({"visual_loss": 0.75, "color_loss": 0.25})


def test_weights_that_leave_nothing_to_weigh_are_refused(run: RunDir) -> None:
    with pytest.raises(ConfigError, match="no metric with a weight"):
        replay(run, dict.fromkeys(replay(run).weights, 0.0))


def test_weights_of_nothing_that_was_measured_are_said(run: RunDir) -> None:
    unmeasured = replay(run).model_copy(update={"best": None, "weights": {}})
    assert "These weights count nothing" in next(remarks(run, unmeasured, as_the_run_says=False))


def test_what_is_missing_and_what_differs_from_best_json_is_said_with_its_cure(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    add(run, 20)
    (remark,) = remarks(run, replay(run), as_the_run_says=True)
    assert remark.startswith("Step 0 has no evaluation")
    assert "run.py evaluate" in remark


def test_another_choice_than_that_of_best_json_is_said(tmp_path: Path) -> None:
    run = open_run(Path(shutil.copytree(GOLDEN / "finished", tmp_path / "finished")))
    verdict, written = replay(run), run.read_best()
    assert verdict.best
    assert written
    assert verdict.best.step != written.step, "chosen by the rules of an earlier version"
    (remark,) = remarks(run, verdict, as_the_run_says=True)
    assert f"best.json names step {written.step}" in remark
    assert list(remarks(run, verdict, as_the_run_says=False)) == []


def test_other_numbers_than_those_of_best_json_are_said(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    add(run, 0, 0.50, 0.70, 0.60)
    add(run, 20, 0.30, 0.51, 0.40)
    found = replay(run).best
    assert found
    assert found.composite
    found.write(run.best)
    assert list(remarks(run, replay(run), as_the_run_says=True)) == []
    other = found.composite.model_copy(update={"delta": found.composite.delta + 0.1})
    found.model_copy(update={"composite": other}).write(run.best)
    (remark,) = remarks(run, replay(run), as_the_run_says=True)
    assert remark.startswith("best.json gives other numbers")


def test_a_damaged_result_is_named_and_the_cure_is_to_make_its_folder_anew(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    add(run, 0, 0.50, 0.70, 0.60)
    file = run.evaluation(0) / "result.json"
    file.write_text(file.read_text().replace("0.7", "NaN"))
    with pytest.raises(RunFolderError) as caught:
        replay(run)
    assert f"move the folder {run.evaluation(0)} away" in caught.value.hint
    assert "run.py evaluate" in caught.value.hint


def test_a_loss_that_step_0_has_not_is_said(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    for step, gain in ((0, 0.0), (20, 0.2)):
        result = result_of(step, *(loss - gain for loss in (0.50, 0.70, 0.60)), missing={"color_loss": "no segmenter"})
        samples = [one.model_copy(update={"metrics": one.metrics | {"color_loss": None}}) for one in result.samples]
        add(run, step, samples=tuple(samples), missing=result.missing)
    found = replay(run).best
    assert found
    assert "Not counted: color loss. It has no value for step 0: no segmenter." in found.cautions


def test_a_loss_that_step_0_has_for_one_prompt_is_said_and_the_others_choose(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    for step, gain in ((0, 0.0), (20, 0.2)):
        samples = result_of(step, *(loss - gain for loss in (0.50, 0.70, 0.60))).samples
        first = samples[0].prompt_id
        blank = {"color_loss": None}
        kept = [one if one.prompt_id == first else one.model_copy(update={"metrics": one.metrics | blank})
                for one in samples]  # fmt: skip
        add(run, step, samples=tuple(kept))
    record = run.read_record()
    seen = record.dataset.model_copy(update={"num_seen": 2})
    record.model_copy(update={"dataset": seen}).write(run.record)
    found = replay(run).best
    assert found
    assert found.step == 20
    assert "Not counted: color loss. It has a value for only one prompt at step 0." in found.cautions
    assert any(one.startswith("2 of the reference pictures look like pictures") for one in found.cautions)


def test_where_no_snapshot_has_the_numbers_that_count_the_missing_ones_are_named(make_paper_run: RunMaker) -> None:
    run = make_paper_run()
    add(run, 0, samples=result_of(0, 0.5, 0.7, 0.6).samples)
    samples = [one.model_copy(update={"metrics": one.metrics | {"color_loss": None}})
               for one in result_of(20, 0.4, 0.6, 0.5).samples]  # fmt: skip
    add(run, 20, samples=tuple(samples))
    told = list(remarks(run, replay(run), as_the_run_says=True))
    assert told[0] == (
        "No snapshot can be compared with step 0: color_loss has no number for two prompts. Leave out what lacks "
        "numbers, as --weights color_loss=0 does here."
    )


def test_a_metric_has_one_weight() -> None:
    with pytest.raises(ConfigError, match="names color_loss more than once"):
        parse_weights("color_loss=1,visual_loss=1, color_loss = 2")


@pytest.mark.parametrize(("text", "named"), [("visual_loss", "'visual_loss'"), ("a=-1,b=2,c=x", "'a', 'c'")])
def test_a_weight_must_be_a_number(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse_weights(text)


def test_a_metric_without_a_better_side_cannot_be_weighed(run: RunDir) -> None:
    with pytest.raises(ConfigError, match="drift, sharpness"):
        replay(run, {"drift": 1.0, "sharpness": 1.0})


def test_a_verdict_without_step_0_has_an_exit_code_of_its_own_and_a_cure(
    make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_paper_run()
    add(run, 20, 0.30, 0.51, 0.40, 0.34)
    monkeypatch.setattr("sys.argv", ["verdict", str(run.path)])
    assert main() == NO_VERDICT
    assert f"nothing can be compared with it: run `python run.py evaluate {run.path}`" in capsys.readouterr().out


def test_what_evaluating_the_rest_may_cost_is_said(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluator.replay.pending.due", lambda *_, **__: {80})
    advice, cost, *_ = remarks(run, replay(run), as_the_run_says=True)
    assert advice.startswith("Not evaluated, and so not in this verdict: 80.")
    assert cost.endswith("is then left out for all snapshots (not_counted).")


def test_a_run_whose_snapshots_are_counted_in_epochs_is_told_in_epochs(run: RunDir) -> None:
    imported = Imported(folder="/loras", unit="epoch")
    run.read_record().model_copy(update={"imported": imported}).write(run.record)
    ResultsTable(run).rebuild()
    text, found, best = io.StringIO(), replay(run), run.read_best()
    show(found, Console(file=text, width=200, highlight=False))
    told = [text.getvalue(), *(line for line in remarks(run, found, as_the_run_says=True))]
    assert text.getvalue().split()[3] == "epoch"
    assert best
    assert "Epochs 20, 40 were evaluated again" in best.reason
    sentences = [best.reason, *best.cautions, *best.passed_over.values(), *(sign.evidence for sign in best.signals)]
    assert not [line for line in (*told[:1], *sentences) if re.search(r"\b[Ss]teps?\b", line)]
    assert any("Step {step}" in one.text for one in best.reason_phrases), "what it is translated from"


def test_a_best_file_that_is_another_one_by_now_is_told_and_not_to_be_shipped(run: RunDir, tmp_path: Path) -> None:
    file, folder = tmp_path / "dress.safetensors", run.snapshot(40)
    file.write_bytes(b"another")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file.name).symlink_to(file)
    entry = FileEntry(name=file.name, size=7, sha256="of the evaluated one")
    Manifest(kind="snapshot", run_id=run.read_record().run_id, step=40, files=(entry,)).write(folder / MANIFEST)
    found = replay(run)
    assert found.best
    assert found.best.step == 40
    assert f"{file} is no longer the LoRA that was evaluated" in json.loads(found.to_json())["why_not_shippable"]
    out = io.StringIO()
    show(found, Console(file=out, width=400))
    assert f"Caution: Step 40 cannot be shipped or exported: {file} is no longer" in out.getvalue()
    assert "ship this" not in out.getvalue()
