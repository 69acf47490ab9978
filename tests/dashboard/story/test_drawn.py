"""What the wall of pictures is told: the steps to choose from, and the pictures of a step."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from datetime import UTC, datetime

import pytest

from dashboard.data.reader import RunReader
from dashboard.report import pictures as report_pictures
from dashboard.story.drawn import default_sides, drawn_step, drawn_steps
from dashboard.story.evidence import gather
from dashboard.story.gains import gains
from dashboard.story.pictures import pictures
from examples.fake_run.run import FakeRun
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.run_dir import RunDir
from tests.edited_run import give_sources


def reader_of(run: RunDir) -> RunReader:
    return RunReader(run, run.read_record().run_id)


def labels(reader: RunReader) -> list[str]:
    return [one.label for one in drawn_steps(reader)]


def test_a_step_is_chosen_by_what_is_known_of_it(states: dict[str, FakeRun]) -> None:
    assert labels(reader_of(states["finished"].run)) == [
        "base model", "40", "80", "120 · best", "160 · no picture", "200 · flagged · newest",
    ]  # fmt: skip
    assert labels(reader_of(states["live"].run)) == ["base model", "40 · leading · newest"]
    assert "120 · leading" in labels(reader_of(states["unproven"].run))


def test_the_base_model_and_the_best_stand_side_by_side_at_first(finished: FakeRun) -> None:
    reader = reader_of(finished.run)
    assert default_sides(reader, drawn_steps(reader)) == (0, 120)
    finished.run.best.unlink()
    reader = reader_of(finished.run)
    assert default_sides(reader, drawn_steps(reader)) == (0, 200)
    for step in (40, 80, 120, 160, 200):
        shutil.rmtree(finished.run.evaluation(step))
    reader = reader_of(finished.run)
    assert default_sides(reader, drawn_steps(reader)) == (0, None)


def test_the_gains_of_pictures_make_up_those_of_prompts(finished: FakeRun) -> None:
    reader = reader_of(finished.run)
    shown, result = drawn_step(reader, 120), reader.result(120)
    assert result
    by_unit: dict[int, list[float]] = {}
    for sample in shown.samples:
        assert sample.gain is not None
        by_unit.setdefault(sample.unit, []).append(sample.gain)
    prompts = [sum(values) / len(values) for values in by_unit.values()]
    assert prompts == pytest.approx(list(gains(reader, reader.result(0)).of(result).values()))
    assert json.dumps(asdict(shown), allow_nan=False)
    assert {sample.gain for sample in drawn_step(reader, 0).samples} == {0.0}


def test_a_damaged_result_takes_only_its_own_pictures(finished: FakeRun) -> None:
    (finished.run.evaluation(80) / "result.json").write_text("{")
    reader = reader_of(finished.run)
    damaged = drawn_steps(reader)[2]
    assert damaged.label == "80 · no picture"
    assert "result.json" in damaged.reason
    assert drawn_step(reader, 80).samples == ()
    assert default_sides(reader, drawn_steps(reader)) == (0, 120)


def test_gains_are_told_anew_when_the_base_model_is_evaluated_again(finished: FakeRun) -> None:
    before = drawn_steps(reader_of(finished.run))[3]
    result = finished.run.read_result(0)
    assert result
    shutil.copytree(finished.run.evaluation(0), finished.run.path / "again")
    shutil.rmtree(finished.run.evaluation(0))
    (finished.run.path / "again").rename(finished.run.evaluation(0))
    (finished.run.evaluation(0) / "new").touch()
    after = drawn_steps(reader_of(finished.run))[3]
    assert after.basis != before.basis
    assert after.version == before.version, "its pictures are as they were"


def test_what_pictures_are_made_from_is_told_and_stands_first_on_the_first_screen(finished: FakeRun) -> None:
    give_sources(finished.run, 2)
    reader = reader_of(finished.run)
    assert {sample.num_sources for sample in drawn_step(reader, 120).samples} == {2}
    shown = pictures(gather(reader, datetime.now(UTC), UTC))
    assert shown.titles[:2] == ("source", "reference")
    for pick in shown.picks:
        assert [cell.title for cell in pick.cells[:2]] == ["source", "reference"]
        assert f"references/{pick.prompt_id}.source-1.png" in pick.cells[0].url
    inlined = report_pictures(reader, {120: drawn_result(reader)})
    assert {
        f"references/{pick.prompt_id}.source-{number}.png" for pick in shown.picks for number in (1, 2)
    } <= inlined.keys()
    assert all(inlined.values())


def drawn_result(reader: RunReader) -> EvaluationResult:
    result = reader.result(120)
    assert result
    return result
