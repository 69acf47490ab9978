"""A sweep on the page: sentences, parallel axes, importance, the table of trials."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboard.charts.sweep import importance_figure, trials_figure
from dashboard.story.sweep import are_its_runs, sweep_chart, sweep_data, sweeps, trials_table
from dashboard.text import language
from shared.run_folder.records.interval import Interval
from shared.sweeps import words
from shared.sweeps.record import Noise, SettingRecord, SweepRecord, TrialRecord, TrialState
from shared.sweeps.standing import Placed, standing
from shared.sweeps.sweep_dir import SweepDir


def trial(
    number: int, state: TrialState, composite: float | None, rate: float, rank: int, seed: int = 0
) -> TrialRecord:
    found = None if composite is None else Interval(delta=composite, low=composite - 0.2, high=composite + 0.2)
    return TrialRecord(
        number=number,
        run=f"trial-{number:03d}",
        values={"train.learning_rate": rate, "lora.rank": rank},
        seed=seed,
        repeats=0 if seed else None,
        state=state,
        reason="at step 20 <b>surely</b> worse" if state == "pruned" else "",
        step=20,
        total=40,
        best_step=20,
        composite=found,
    )


TRIALS = (
    trial(0, "done", -1.0, 1e-3, 8),
    trial(1, "pruned", -0.1, 1e-5, 4),
    trial(2, "failed", None, 1e-4, 8),
    trial(3, "done", -1.2, 1e-3, 8, seed=1),
    trial(4, "running", -0.5, 1e-4, 16),
)
PLACED = [
    Placed(one.number, one.values["lora.rank"], {"a": -1.0, "b": -1.1 - one.seed}) for one in (TRIALS[0], TRIALS[3])
]
RECORD = SweepRecord(
    name="ranks",
    state="running",
    num_trials=8,
    space={"train.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}, "lora.rank": [4, 8, 16]},
    trials=TRIALS,
    settings=(SettingRecord(values={"lora.rank": 8}, trials=(0, 3), composite=-1.1),),
    noise=Noise(deviation=0.14, num_settings=1, num_trials=2),
    importance={"lora.rank": 0.25, "train.learning_rate": 0.75},
    sentences=words.sentences(standing(PLACED), TRIALS, explained=True),
)


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    yield
    language.use("en")


def numbers(packed: dict[str, str]) -> list[float]:
    return np.frombuffer(base64.b64decode(packed["bdata"]), dtype=f"<{packed['dtype']}").tolist()


def lines(figure: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    assert figure
    return {trace["uid"]: trace for trace in figure["data"] if "uid" in trace}


def test_each_trial_with_a_composite_is_a_line_and_the_winner_is_drawn_last() -> None:
    found = lines(trials_figure(RECORD))
    assert [*found] == ["trial-001", "trial-004", "trial-000", "trial-003"]
    assert numbers(found["trial-003"]["y"]) == pytest.approx([1.0, 0.5, 1.0])
    assert numbers(found["trial-001"]["y"]) == pytest.approx([0.0, 0.0, 0.0])
    assert numbers(found["trial-004"]["y"]) == pytest.approx([0.5, 1.0, 0.4 / 1.1])
    assert [trace["showlegend"] for trace in found.values()] == [True, True, True, False]


def test_a_sweep_without_a_composite_has_no_chart() -> None:
    assert trials_figure(RECORD.model_copy(update={"trials": (TRIALS[2],)})) is None
    assert importance_figure(RECORD.model_copy(update={"importance": {}})) is None


def test_the_most_important_setting_is_on_top() -> None:
    figure = importance_figure(RECORD)
    assert figure
    assert figure["data"][0]["y"] == ["rank", "learning_rate"]
    assert figure["data"][0]["text"] == ["25%", "75%"]


def test_the_table_begins_with_the_winner() -> None:
    table = trials_table(RECORD)
    assert [*table["run"]] == ["trial-000", "trial-003", "trial-004", "trial-001", "trial-002"]
    assert [*table["composite"]][-2:] == ["-0.10 (-0.30 … +0.10)", "–"]


@pytest.mark.parametrize("code", ["zh-Hans", "zh-Hant"])
def test_the_sentences_are_said_in_the_readers_language(code: str, tmp_path: Path) -> None:
    english = sweep_data(SweepDir(tmp_path), RECORD)["blocks"]
    language.use(code)
    chinese = sweep_data(SweepDir(tmp_path), RECORD)["blocks"]
    assert len(chinese) == len(english)
    assert [one["text"] for one, other in zip(chinese, english, strict=True) if one["text"] == other["text"]] == []


def test_a_sweep_is_shown_beside_runs_and_beside_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = SweepDir(tmp_path / "runs" / "ranks")
    sweep.runs.mkdir(parents=True)
    RECORD.write(sweep.record)
    for folder, own in ((tmp_path / "runs", False), (sweep.runs, True)):
        monkeypatch.setenv("DARKROOM_RUNS", str(folder))
        assert [*sweeps()] == ["ranks"]
        assert are_its_runs(sweep) is own
        shown = sweep_data(*sweeps()["ranks"])["blocks"]
        assert any("run.py dashboard" in block["text"] for block in shown) is not own
        assert sweep_chart("ranks", "trials").again
        assert sweep_chart("other", "trials").figure is None
    sweep.record.write_text("{", encoding="utf-8")
    assert sweeps() == {}
