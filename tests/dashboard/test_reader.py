from __future__ import annotations

import threading
from pathlib import Path

import pytest

from dashboard.data.csv_reader import GrowingTable
from dashboard.data.reader import RunReader
from examples.fake_run.run import FakeRun
from shared.config.dumping import dump_config
from shared.errors import RunFolderError
from shared.files.replacing import replace_file
from shared.run_folder.tables import TRAIN_COLUMNS, Appender, prune


@pytest.fixture
def table(tmp_path: Path) -> Appender:
    return Appender(tmp_path / "train.csv", TRAIN_COLUMNS)


def row(step: int, loss: float | None = 0.5) -> dict[str, str | float | int | None]:
    return {"step": step, "loss": loss, "timestamp": f"2026-01-01T00:00:{step % 60:02d}.000+00:00"}


def write(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_reader_ignores_a_torn_last_line_until_it_is_whole(table: Appender) -> None:
    growing = GrowingTable(table.path, TRAIN_COLUMNS)
    table.append(row(1))
    write(table.path, b"2,,0.05")
    assert growing.read()["loss"].tolist() == [0.5]
    write(table.path, b"67,,,,,,,,,2026-01-01T00:00:02.000+00:00\n")
    assert growing.read()["loss"].tolist() == [0.5, 0.0567]


def test_reader_reads_only_what_is_new(table: Appender, monkeypatch: pytest.MonkeyPatch) -> None:
    growing = GrowingTable(table.path, TRAIN_COLUMNS)
    for step in range(1, 400):
        table.append(row(step))
    growing.read()
    read: list[int] = []
    original = growing._append
    monkeypatch.setattr(growing, "_append", lambda lines: (read.append(lines.count(b"\n")), original(lines)))
    growing.read()
    table.append(row(400))
    assert len(growing.read()) == 400
    assert read == [1]


def test_reader_starts_over_when_a_resumed_trainer_rewrote_the_table(table: Appender) -> None:
    growing = GrowingTable(table.path, TRAIN_COLUMNS)
    for step in range(1, 8):
        table.append(row(step))
    assert len(growing.read()) == 7
    prune(table.path, lambda kept: int(kept["step"]) <= 3)
    for step in range(4, 12):
        table.append(row(step, 0.25))
    assert growing.read()["loss"].tolist() == [0.5] * 3 + [0.25] * 8


def test_reader_meets_a_table_that_is_not_there_yet_and_one_that_went_away(tmp_path: Path) -> None:
    growing = GrowingTable(tmp_path / "train.csv", TRAIN_COLUMNS)
    assert growing.read().empty
    Appender(tmp_path / "train.csv", TRAIN_COLUMNS).append(row(1))
    assert len(growing.read()) == 1
    (tmp_path / "train.csv").unlink()
    assert growing.read().empty


def test_a_blank_and_a_nan_are_both_no_number(table: Appender) -> None:
    table.append(row(1, None))
    table.append(row(2, float("nan")))
    assert GrowingTable(table.path, TRAIN_COLUMNS).read()["loss"].isna().tolist() == [True, True]


def test_a_damaged_line_is_an_error_with_the_file_named(table: Appender) -> None:
    table.append(row(1))
    write(table.path, b"two,,x,,,,,,,,,\n")
    with pytest.raises(RunFolderError, match=r"train\.csv is damaged"):
        GrowingTable(table.path, TRAIN_COLUMNS).read()


def test_viewers_that_read_at_once_see_every_row_once(table: Appender) -> None:
    growing = GrowingTable(table.path, TRAIN_COLUMNS)
    for step in range(1, 300):
        table.append(row(step))
    threads = [threading.Thread(target=growing.read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert growing.read()["step"].tolist() == list(range(1, 300))


def test_reasons_for_blanks_come_from_the_results(finished: FakeRun) -> None:
    reader = RunReader(finished.run, finished.record.run_id)
    (failed_step,) = reader.failures()
    missing = reader.missing()
    assert "not finite" in missing["visual_loss"][failed_step]
    assert "no garment found" in next(reason for step, reason in missing["color_loss"].items() if step != failed_step)
    assert reader.stops() == {66: "command line"}
    assert reader.base_metrics()["visual_loss"] == pytest.approx(0.52, abs=0.05)


def test_a_result_that_was_made_again_is_read_again(finished: FakeRun) -> None:
    reader = RunReader(finished.run, finished.record.run_id)
    (failed_step,) = reader.failures()
    before = reader.result(failed_step)
    assert before
    assert before.status == "failed"
    before.model_copy(update={"status": "ok"}).write(finished.run.evaluation(failed_step) / "result.json")
    after = reader.result(failed_step)
    assert after
    assert after.status == "ok"
    assert reader.result(12345) is None


def test_columns_of_another_version_neither_break_nor_get_lost(tmp_path: Path) -> None:
    path = tmp_path / "validation.csv"
    path.write_text("step,held_out_loss,stratum_0,remark\n10,0.5,0.25,fine\n")
    table = GrowingTable(path, ("step", "held_out_loss", "gap")).read()
    assert table["stratum_0"].tolist() == [0.25]
    assert table["gap"].isna().all()
    assert table["remark"].isna().all()


def test_times_become_seconds(table: Appender) -> None:
    table.append(row(2))
    assert GrowingTable(table.path, TRAIN_COLUMNS).read()["timestamp"].tolist() == [1767225602.0]


def test_what_was_made_is_kept_until_too_much_is(finished: FakeRun) -> None:
    reader = RunReader(finished.run, finished.record.run_id)
    made: list[int] = []
    for number in [0, *range(40), 0]:
        reader.keep(("figure", number), lambda number=number: made.append(number))
    assert made == [*range(40), 0]


def test_a_verdict_is_read_when_it_changes_and_a_damaged_one_is_named(finished: FakeRun) -> None:
    reader = RunReader(finished.run, finished.record.run_id)
    best = reader.best()
    assert best
    assert best.advice
    assert best.advice.action == "advise"
    assert reader.best() is best
    assert reader.anchors()["visual_loss"]["real"] == pytest.approx(0.156)
    finished.run.best.write_text("[1]")
    assert reader.best() is None
    assert "best.json is not a record" in str(reader.damaged[finished.run.best])
    finished.run.best.unlink()
    assert reader.best() is None
    assert reader.anchors() == {}


def test_settings_changed_for_a_resumed_run_are_read_again(finished: FakeRun) -> None:
    reader = RunReader(finished.run, finished.record.run_id)
    before = reader.config
    assert reader.config is before
    train = before.train.model_copy(update={"max_train_steps": 900, "learning_rate": 0.003})
    replace_file(finished.run.config, dump_config(before.model_copy(update={"train": train})).encode())
    assert (reader.config.train.max_train_steps, reader.config.train.learning_rate) == (900, 0.003)


def test_every_evaluated_step_has_a_version_that_changes_with_it(finished: FakeRun) -> None:
    reader = RunReader(finished.run, finished.record.run_id)
    before = dict(reader.evaluation_versions())
    assert list(before) == reader.evaluated_steps()
    (finished.run.evaluation(40) / "another").touch()
    after = dict(reader.evaluation_versions())
    assert [step for step in before if before[step] != after[step]] == [40]
