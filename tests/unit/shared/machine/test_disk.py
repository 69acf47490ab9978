"""Room on the disk: estimated before, watched while, said in words."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from shared.config.loading import parse_config
from shared.config.save_interval import parse
from shared.machine import disk
from shared.machine.disk import Need, ResultBytes, estimate, in_words, num_saves, shortage

SETTINGS = parse_config(
    {
        "data": {"path": "p"},
        "train": {"max_train_steps": 100, "snapshot_steps": 10, "checkpointing_steps": 20},
    }
).train


@pytest.mark.parametrize(
    ("interval", "step", "expected"),
    [
        (10, 0, 10),
        (10, 95, 1),
        (10, 100, 0),
        (30, 0, 4),  # 30, 60, 90, and the last
        ([[0, 5], [20, 40]], 0, 6),  # 5, 10, 15, 20, 60, 100
        ("2 epochs", 0, 5),
        ("5 minutes", 0, 1),
        ("5 minutes", 100, 0),
    ],
)
def test_saves_are_counted_as_training_will_make_them(interval: object, step: int, expected: int) -> None:
    assert num_saves(parse(interval), step, 100, steps_per_epoch=10) == expected


def test_a_run_needs_all_its_snapshots_and_results_but_few_checkpoints() -> None:
    results = ResultBytes(per_snapshot=500.0, at_the_end=70_000.0)
    need = estimate(SETTINGS, 0, 10.0, snapshot=1000, checkpoint=3000, results=results)
    assert need.rest_of_run == 10 * (1000 + 500) + 70_000 + 3 * 3000 + disk.MARGIN_BYTES
    assert need.next_save == 4000 + disk.MARGIN_BYTES
    halfway = estimate(SETTINGS, 50, 10.0, snapshot=1000, checkpoint=3000, results=results)
    assert halfway.rest_of_run < need.rest_of_run


def test_with_a_limit_few_snapshots_lie_there_and_the_forecast_says_both() -> None:
    results = ResultBytes(per_snapshot=500.0)
    limited = SETTINGS.model_copy(update={"snapshots_total_limit": 3})
    need = estimate(limited, 0, 10.0, snapshot=1 << 20, checkpoint=0, results=results)
    assert need.rest_of_run == (3 + 1) * (1 << 20) + 10 * 500 + disk.MARGIN_BYTES, "one more while it is written"
    assert need.without_limit == estimate(SETTINGS, 0, 10.0, 1 << 20, 0, results).rest_of_run
    assert "5.0 MiB on disk with train.snapshots_total_limit = 3, 11.0 MiB without" in disk.forecast(need, 3)
    assert disk.forecast(need, None) == "this run will take about 11.0 MiB on disk, 1.0 MiB for each snapshot"


def test_a_shortage_is_said_while_two_saves_do_not_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    need = Need(snapshot=10 << 20, checkpoint=30 << 20, rest_of_run=0, without_limit=0)
    free = SimpleNamespace(free=0)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: free)
    free.free = 82 << 20
    assert shortage(tmp_path, need) == ""
    free.free -= 1
    assert shortage(tmp_path, need) == f"82.0 MiB are free under {tmp_path}, two saves need 82.0 MiB"


@pytest.mark.parametrize(("size", "words"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")])
def test_sizes_are_read_by_people(size: int, words: str) -> None:
    assert in_words(size) == words
