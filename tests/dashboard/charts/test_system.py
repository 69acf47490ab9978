from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from dashboard.charts.system import system_figure
from dashboard.data.machine.consumption import consumption
from dashboard.data.reader import RunReader
from dashboard.panels.system import took, why_no_series
from dashboard.story.machine import machine
from examples.fake_run.run import FakeRun, create
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.tables import SYSTEM_COLUMNS, write_rows


@pytest.fixture
def reader(finished: FakeRun) -> RunReader:
    return RunReader(finished.run, finished.record.run_id)


def titles(figure: dict[str, object]) -> list[str]:
    layout = figure["layout"]
    assert isinstance(layout, dict)
    return [note["text"] for note in layout["annotations"]]


def test_memory_load_temperature_power_and_disk_are_drawn_over_hours_and_over_steps(reader: RunReader) -> None:
    (table,) = reader.system()
    shown = [
        "GPU memory, GiB",
        "memory of the programs (RSS), GiB",
        "memory in use on the machine, GiB",
        "load, %",
        "temperature, °C",
        "power, W",
        "free disk, GB",
    ]
    over_hours, over_steps = (system_figure(table, reader.train(), kind) for kind in ("relative", "step"))
    assert titles(over_hours) == titles(over_steps) == shown
    names = [trace["name"] for trace in over_hours["data"]]
    assert names[:3] == ["Trainer", "Evaluator", "GPU"]
    assert "GPU 0" not in names, "the only one needs no number"
    assert over_hours["layout"]["xaxis"]["title"]["text"] == "hours since the start"
    assert over_steps["layout"]["xaxis"]["title"]["text"] == "step"


def test_what_was_never_measured_has_no_chart_and_the_energy_says_why_it_is_unknown(
    reader: RunReader, tmp_path: Path
) -> None:
    rows = [
        {"timestamp": f"2026-01-01T00:00:{10 * n}.000+00:00", "seconds": 10.0 * bool(n), "cpu_percent": 40}
        for n in (1, 2)
    ]
    write_rows(reader.run.system_csv(), SYSTEM_COLUMNS, rows)
    (table,) = reader.system()
    assert titles(system_figure(table, reader.train(), "relative")) == ["load, %"]
    assert consumption(table).kilowatt_hours is None
    assert took([consumption(table)]).endswith("because no GPU of this run says how much power it takes.")


def test_time_and_energy_leave_the_pause_between_two_sessions_out() -> None:
    hour = pd.DataFrame(
        {"seconds": [0.0, 1800.0, 0.0, 1800.0], "gpu0_watts": [50.0, 300, 9000, 100], "gpu1_watts": 200.0}
    )
    found = consumption(hour)
    assert found.seconds == 3600
    assert found.kilowatt_hours == pytest.approx((300 + 100 + 2 * 200) * 0.5 / 1000)
    assert took([found, found]) == (
        "Recorded: 1 h 00 min. Energy of the GPUs: 0.800 kWh, without processors and power supply."
    )


def test_a_second_machine_has_its_own_series(reader: RunReader) -> None:
    reader.run.system_csv(2).write_bytes(reader.run.system_csv().read_bytes())
    assert len(reader.system()) == 2


def test_a_table_that_is_cut_shows_what_it_has_and_a_damaged_one_is_named(reader: RunReader) -> None:
    path = reader.run.system_csv()
    whole = len(reader.system()[0])
    with path.open("a") as file:
        file.write("2026-01-01T00:0")
    assert len(reader.system()[0]) == whole
    path.write_text("timestamp,seconds\n2026-01-01T00:00:00,soon\n")
    assert reader.system() == []
    assert path in reader.damaged


def test_a_run_without_a_series_says_why(finished: FakeRun, tmp_path: Path) -> None:
    finished.run.system_csv().unlink()
    reader = RunReader(finished.run, finished.record.run_id)
    assert reader.system() == []
    assert why_no_series(reader).startswith("An earlier version trained this run")
    with hold_role(finished.run, "trainer"):
        assert why_no_series(reader).endswith("A row comes every 10 seconds.")
    fresh = create(tmp_path / "runs" / "fresh", steps=10, snapshot_steps=5)
    assert why_no_series(RunReader(fresh.run, fresh.record.run_id)).endswith("this run has not started.")


def test_rows_before_the_first_step_and_after_the_last_have_no_place_among_the_steps() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    train = pd.DataFrame({"step": [1.0, 11.0], "timestamp": [start, start + 10]})
    table = pd.DataFrame(
        {"timestamp": [start - 5, start + 5, start + 50], "seconds": [0.0, 10, 45], "cpu_percent": [1.0, 2, 3]}
    )
    figure = system_figure(table.reindex(columns=[*table, "disk_free_mib"]), train, "step")
    assert figure["data"][0]["x"]["bdata"], "one point"
    assert len(figure["data"]) == 1


def test_a_program_that_never_ran_is_not_started(reader: RunReader) -> None:
    programs = {program.name: program for program in machine(reader, datetime.now(UTC), UTC).programs}
    assert programs["Supervisor"].started == "not started"
    assert programs["Trainer"].started.startswith("20")
