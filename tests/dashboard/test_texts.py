"""Texts of two steps stand side by side, and what differs is marked."""

from __future__ import annotations

from pathlib import Path

from dashboard.components.exhibits import exhibits_html, has_texts
from dashboard.components.texts import marked, texts_html
from dashboard.data.reader import RunReader
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample
from shared.run_folder.records.exhibit import Exhibit, ExhibitText
from shared.run_folder.run_dir import RunDir


def test_words_that_differ_are_marked_on_either_side_and_all_is_text() -> None:
    left, right = marked("a <b> c", "a <i> c d")
    assert left == "a &lt;<del>b</del>&gt; c"
    assert right == "a &lt;<ins>i</ins>&gt; c<ins> d</ins>"
    assert marked("same", "same") == ("same", "same")
    assert marked("", "new") == ("", "<ins>new</ins>")


def test_a_text_without_another_stands_alone() -> None:
    one = ExhibitText(id="x/1", prompt="<p>", expected="e", text="t", note="exact")
    page = texts_html([one], "Step 5", [ExhibitText(id="y", text="u")], "Step 0")
    assert "&lt;p&gt;" in page
    assert "Step 0" not in page
    assert page.count("<pre>") == 3


def test_a_step_is_shown_beside_the_base_model_or_another_step(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "a run")
    for step, text in ((0, "nothing at all"), (3, "some words"), (5, "some other words")):
        run.result("evaluations", step).mkdir(parents=True)
        shown = Exhibit(title="Answers", texts=(ExhibitText(id="x", text=text),))
        result = EvaluationResult(
            run_id="r", step=step, status="ok", samples=(Sample(prompt_id="x"),), exhibits=(shown,)
        )
        result.write(run.result("evaluations", step) / "result.json")
    reader = RunReader(run, "r")
    assert has_texts(reader, 5)
    page = exhibits_html(reader, 5)
    assert "Step 0" in page
    assert "<del>nothing</del>" in page
    page = exhibits_html(reader, 5, beside=3)
    assert "Step 3" in page
    assert "some <ins>other </ins>words" in page
    assert exhibits_html(reader, 0).count("<pre>") == 1
