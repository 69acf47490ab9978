from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from examples.fake_run.run import create
from shared.machine import gpu_readings, hardware, recorder
from shared.machine.recorder import Recorder, claimed, halve, open_table, recorded
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import GPU_COLUMNS, SYSTEM_COLUMNS, read_rows

GPU0 = tuple(f"gpu0_{name}" for name in GPU_COLUMNS)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    monkeypatch.setattr(hardware, "usable_handles", list[tuple[int, Any]])
    run = create(tmp_path / "run", steps=10, snapshot_steps=5).run
    run.processes.mkdir(exist_ok=True)
    return run


def test_a_row_says_what_the_machine_and_the_living_programs_take(run: RunDir) -> None:
    with hold_role(run, "trainer"):
        one = Recorder(run, run.system_csv())
        one.append()
        one.append()
    first, second = read_rows(run.system_csv())
    assert tuple(first) == SYSTEM_COLUMNS
    assert (first["seconds"], float(second["seconds"]) >= 0) == ("0.0", True)
    assert float(first["trainer_rss_mib"]) > 20
    assert (first["evaluator_rss_mib"], first["trainer_gpu_mib"]) == ("", ""), "not running; no GPU"
    assert 0 <= float(second["cpu_percent"]) <= 100
    assert float(first["disk_free_mib"]) > 0


def test_a_gpu_tells_load_temperature_and_power_and_who_holds_its_memory(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "usable_handles", lambda: [(0, "handle")])
    answers: dict[str, Any] = {
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=3 << 30, total=8 << 30),
        "nvmlDeviceGetTemperature": 61,
        "nvmlDeviceGetPowerUsage": 212_340,
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=97),
        "nvmlDeviceGetName": "T4",
        "nvmlDeviceGetComputeRunningProcesses": [
            SimpleNamespace(pid=os.getpid(), usedGpuMemory=1 << 30),
            SimpleNamespace(pid=1, usedGpuMemory=None),
        ],
    }
    for name, answer in answers.items():
        monkeypatch.setattr(gpu_readings.pynvml, name, lambda *_, answer=answer: answer)
    with hold_role(run, "trainer"):
        Recorder(run, run.system_csv()).append()
    (row,) = read_rows(run.system_csv())
    assert [row[name] for name in GPU0] == ["97", "3072", "61", "212.3"]
    assert (row["trainer_gpu_mib"], row["evaluator_gpu_mib"]) == ("1024", "")


def test_a_gpu_that_is_lost_leaves_its_cells_blank(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "usable_handles", lambda: [(0, "handle")])

    def lost(*_: object) -> None:
        raise gpu_readings.pynvml.NVMLError(gpu_readings.pynvml.NVML_ERROR_GPU_IS_LOST)

    for name in ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetComputeRunningProcesses"):
        monkeypatch.setattr(gpu_readings.pynvml, name, lost)
    Recorder(run, run.system_csv()).append()
    (row,) = read_rows(run.system_csv())
    assert [row[name] for name in GPU0] == [""] * 4
    assert row["cpu_percent"]


def test_one_process_of_a_machine_writes_and_another_machine_has_a_table_of_its_own(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as first, ExitStack() as second, ExitStack() as elsewhere:
        assert claimed(run, first) == run.system_csv()
        assert claimed(run, second) is None
        monkeypatch.setattr(recorder.socket, "gethostname", lambda: "another")
        assert claimed(run, elsewhere) == run.system_csv(2)
    with ExitStack() as successor:
        assert claimed(run, successor) == run.system_csv(), "whoever comes after goes on with the first"


def test_it_goes_on_after_a_crash_with_torn_and_zeroed_lines_and_other_gpus(run: RunDir) -> None:
    path = run.system_csv()
    time = "2026-01-01T00:00:00.000+00:00"
    path.write_bytes(
        b"timestamp,seconds,gpu1_watts,cpu_percent\n" + f"{time},0,5,7\n".encode() + b"\0\0\0\n2026,9\n" + b"2026-01-0"
    )
    table = open_table(path, GPU0)
    table.append({"timestamp": time, "gpu0_watts": 9})
    rows = read_rows(path)
    assert [(row["gpu1_watts"], row["gpu0_watts"], row["cpu_percent"]) for row in rows] == [
        ("5", "", "7"),
        ("", "9", ""),
    ]
    assert set(rows[0]) == {*SYSTEM_COLUMNS, *GPU0, "gpu1_watts"}


def test_a_table_that_grows_too_long_keeps_every_second_row_and_all_of_the_time(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run.system_csv()
    table = open_table(path, ())
    for number in range(7):
        table.append({"timestamp": "2026-01-01T00:00:00.000+00:00", "seconds": 10.0, "cpu_percent": number})
    halve(path)
    assert [(row["cpu_percent"], row["seconds"]) for row in read_rows(path)] == [
        ("1", "20.0"),
        ("3", "20.0"),
        ("5", "20.0"),
    ]
    monkeypatch.setattr(recorder, "MAX_BYTES", 100)
    Recorder(run, path).append()
    assert len(read_rows(path)) == 2


def test_a_full_disk_a_missing_folder_and_a_defect_never_reach_the_program(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Recorder(run, run.system_csv())
    run.system_csv().unlink()
    one.append()
    assert not run.system_csv().exists()
    monkeypatch.setattr(recorder, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(recorder, "claimed", lambda *_: 1 / 0)
    with recorded(run):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name == "system-recorder"]


def test_a_program_is_recorded_until_it_ends(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "FIRST_SECONDS", 0.0)
    written = threading.Event()
    append = Recorder.append

    def noted(self: Recorder) -> None:
        append(self)
        written.set()

    monkeypatch.setattr(Recorder, "append", noted)
    with recorded(run):
        assert written.wait(20)
    assert len(read_rows(run.system_csv())) == 2, "at the beginning and at the end"


def test_what_run_py_has_started_is_found_by_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    def child(pid: int, *words: str) -> SimpleNamespace:
        return SimpleNamespace(pid=pid, cmdline=lambda: ["python", *words])

    started = [child(2, "-m", "dashboard", "--fd", "3"), child(3, "-m", "trainer", "run"), child(4, "other.py", "-m")]
    monkeypatch.setattr(recorder.psutil, "Process", lambda _: SimpleNamespace(children=lambda: started))
    assert recorder.children([1]) == {"dashboard": [2], "trainer": [3]}
