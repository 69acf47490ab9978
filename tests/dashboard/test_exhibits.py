"""Tables and pictures that a task shows are drawn as they are, and as text."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dashboard.components.exhibits import exhibits_html
from dashboard.data.reader import RunReader
from dashboard.story.pictures import pictures
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample
from shared.run_folder.records.exhibit import Exhibit, ExhibitPicture, ExhibitTable
from shared.run_folder.run_dir import RunDir

MATRIX = ExhibitTable(
    of_rows="true class", of_columns="named", rows=("<b>", "c"), columns=("<b>", "c"), cells=((3, 1), (0, 2)),
    shading="matrix",
)  # fmt: skip
PLAIN = ExhibitTable(rows=("c", "d"), columns=("precision", "pictures"), cells=((None, 12), (0.5, 1)), decimals=(3, 0))


def reader_of(folder: Path, *exhibits: Exhibit, kind: str = "evaluations") -> RunReader:
    run = RunDir(folder / "a run")
    run.result(kind, 5).mkdir(parents=True)
    result = EvaluationResult(run_id="r", step=5, status="ok", samples=(Sample(prompt_id="x"),), exhibits=exhibits)
    result.write(run.result(kind, 5) / "result.json")
    return RunReader(run, "r")


def test_a_matrix_is_shaded_by_the_share_of_its_row_and_names_are_text(tmp_path: Path) -> None:
    page = exhibits_html(reader_of(tmp_path, Exhibit(title="Confusion <i>", table=MATRIX)), 5)
    assert '<td class="good" style="--share:75%">3</td><td class="bad" style="--share:25%">1</td>' in page
    assert '<td class="bad" style="--share:0%"></td><td class="good" style="--share:100%">2</td>' in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "Confusion &lt;i&gt;" in page
    assert "true class \\ named" in page


def test_a_cell_without_a_number_is_a_dash_and_counts_have_no_digits(tmp_path: Path) -> None:
    page = exhibits_html(reader_of(tmp_path, Exhibit(title="Each", table=PLAIN)), 5)
    assert "<td>–</td><td>12</td>" in page
    assert "<td>0.500</td><td>1</td>" in page


def test_pictures_of_the_final_stand_before_those_of_the_first_evaluation(tmp_path: Path) -> None:
    picture = ExhibitPicture(image="a b.png", title="3 instead of 5", note="99 % sure")
    page = exhibits_html(reader_of(tmp_path, Exhibit(title="Worst", pictures=(picture,)), kind="confirmations"), 5)
    assert 'src="pictures/a%20run/confirmations/step-00000005/images/a%20b.png"' in page
    assert "3 instead of 5<span>99 % sure</span>" in page
    assert exhibits_html(reader_of(tmp_path / "other"), 5) == ""


def test_the_first_screen_says_where_a_run_without_samples_shows_something() -> None:
    shown = EvaluationResult(run_id="r", step=5, status="ok", exhibits=(Exhibit(title="Each", table=PLAIN),))
    for result, said in (
        (shown, "is on the page Pictures."),
        (shown.model_copy(update={"exhibits": ()}), "no pictures."),
    ):
        evidence: Any = SimpleNamespace(reader=SimpleNamespace(has_no_pictures=lambda: True), results={5: result})
        found = pictures(evidence)
        assert found.note.endswith(said)
        assert found.absent  # the curves follow at once
