"""The table of all snapshots, and what is told of one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dashboard.components.snapshot_details import facts_html, head_html, numbers_html, signs_html
from dashboard.data.reader import RunReader
from dashboard.story.snapshots import table, value_of
from examples.fake_run.run import FakeRun
from shared.run_folder.older_metrics import OLDER_METRICS
from tests.dashboard.hostile_run import MARKUP

LOSS = OLDER_METRICS.losses[0]


@pytest.fixture
def reader(states: dict[str, FakeRun]) -> RunReader:
    return RunReader(states["finished"].run, states["finished"].record.run_id)


def test_every_snapshot_has_its_verdict_and_its_numbers(reader: RunReader) -> None:
    shown = table(reader)
    assert list(shown.lines) == [40, 80, 120, 160, 200]
    assert [column.title for column in shown.columns][:2] == ["Composite", "Look"]
    assert shown.lines[160].verdict == "could not be evaluated: the adapter holds a value that is not finite"
    assert set(shown.lines[160].values) == {None}
    value, row = shown.lines[40].values[1], reader.rows()[40]
    assert value
    assert value.words.startswith(f"{row[LOSS.name + '_delta']:+.3f}".replace("-", "−"))


def test_a_metric_without_any_number_has_no_column(reader: RunReader, monkeypatch: pytest.MonkeyPatch) -> None:
    before = table(reader)
    rows = {step: {**row, "color_loss_delta": None} for step, row in reader.rows().items()}
    monkeypatch.setattr(RunReader, "rows", lambda self: rows)
    assert [one for one in before.columns if one.name != "color_loss"] == list(table(reader).columns)
    assert all(len(line.values) == len(before.columns) - 1 for line in table(reader).lines.values())


def test_bars_turn_to_what_is_better_and_numbers_keep_the_sign_of_the_metric() -> None:
    row = {f"{LOSS.name}_delta": -0.2, f"{LOSS.name}_low": -0.3, f"{LOSS.name}_high": -0.1, "sure": LOSS.name}
    value = value_of(LOSS, row)
    assert value
    assert (value.delta, value.low, value.high, value.better, value.text) == (0.2, 0.1, 0.3, True, "−0.200")
    assert (value.number, value.words) == (-0.2, "−0.200 [−0.300, −0.100]")
    score = LOSS.model_copy(update={"direction": "higher"})
    turned = value_of(score, row)
    assert turned
    assert (turned.delta, turned.better) == (-0.2, False)
    unsure = value_of(LOSS, row | {"sure": "none"})
    assert unsure == replace(value, better=None)


def test_a_number_without_an_interval_has_no_bar_and_no_number_no_value() -> None:
    one_prompt = value_of(LOSS, {f"{LOSS.name}_delta": -0.2, f"{LOSS.name}_low": float("nan")})
    assert one_prompt
    assert (one_prompt.low, one_prompt.high, one_prompt.better) == (None, None, None)
    assert value_of(LOSS, {f"{LOSS.name}_delta": float("nan")}) is None
    assert value_of(LOSS, None) is None


def test_the_details_tell_marks_numbers_signs_and_the_file(reader: RunReader) -> None:
    best, now = reader.best(), datetime.now(UTC)
    assert best
    assert "★ best" in head_html(reader, best.step)
    assert "★" not in head_html(reader, 40)
    assert "<th>visual loss</th>" in numbers_html(reader, best.step)
    assert numbers_html(reader, 160) == "", "it could not be evaluated"
    assert "Signs of overfitting" in signs_html(reader, best.step)
    manifest = reader.manifest(40)
    assert manifest
    facts = facts_html(manifest, now, UTC)
    assert manifest.files[0].sha256 in facts
    assert "<dt>training loss</dt>" in facts
    hostile = manifest.model_copy(update={"created": "yesterday", "details": {MARKUP: MARKUP}})
    assert "<img" not in facts_html(hostile, now, UTC)
