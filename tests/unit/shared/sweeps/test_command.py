"""`run.py sweep`: what it says, and its exit codes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import run
import tasks
from shared.config.schema import Config
from shared.errors import DataError
from shared.launch import end_signals
from shared.sweeps import study, sweep_file, sweeping
from shared.sweeps.sweep_dir import SweepDir
from tasks.commands import sweep as command
from tests.unit.shared.sweeps.stand_in import Stage
from tests.unit.shared.sweeps.test_sweeping import SWEEP, good_ranks

HELD_OUT = command._held_out


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in end_signals.ending()}
    monkeypatch.setattr(sweeping, "POLL_SECONDS", 0.0)
    monkeypatch.setattr("os.fsync", lambda file: None)
    monkeypatch.setattr(command, "_held_out", lambda read: ("pair-0",))
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ranks.toml"
    text = SWEEP.format(trials=4, sampler="grid", seeds="[]", output=(tmp_path / "runs").as_posix(), more="")
    path.write_text(text, encoding="utf-8")
    return path


def test_the_status_is_shown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the sweep file and by its folder, also without Optuna."""
    monkeypatch.setattr(command, "Here", lambda: Stage(good_ranks))
    done = CliRunner().invoke(run.app, ["sweep", str(file)])
    assert done.exit_code == 0, done.output
    assert "trial-003 wins with a composite of" in done.output
    folder = file.parent / "runs" / "ranks"
    for place in (file, folder):
        shown = CliRunner().invoke(run.app, ["sweep", str(place), "--status"])
        assert shown.exit_code == 0
        assert "trial-003 wins" in shown.output
    assert [line for line in done.output.splitlines() if line.startswith("│ ")] == [
        line for line in shown.output.splitlines() if line.startswith("│ ")
    ]


def test_a_signal_lets_the_trial_save_and_the_same_command_goes_on(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(settings: object) -> int:
        signal.raise_signal(signal.SIGINT)
        return 0

    monkeypatch.setattr(command, "Here", lambda: Stage(good_ranks, fails=interrupt))
    stopped = CliRunner().invoke(run.app, ["sweep", str(file)])
    assert stopped.exit_code == 0
    assert "trial-000 is saved at step" in stopped.output
    record = SweepDir(file.parent / "runs" / "ranks").read_record()
    assert record
    assert (record.state, [trial.state for trial in record.trials]) == ("stopped", ["waiting"])


def test_three_failures_in_a_row_have_the_exit_code_and_a_cure_that_works(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "Here", lambda: Stage(good_ranks, fails=lambda settings: 3))
    failed = CliRunner().invoke(run.app, ["sweep", str(file)])
    assert failed.exit_code == 4
    assert "3 trials in a row have failed; the last one: exit code 3: no luck with 8; take another" in failed.stderr
    assert "with --retry it tries these once more" in " ".join(failed.stderr.split())
    monkeypatch.setattr(command, "Here", lambda: Stage(good_ranks))
    again = CliRunner().invoke(run.app, ["sweep", str(file), "--retry"])
    assert again.exit_code == 0, again.output
    assert "trials that have failed and are tried again: 3" in again.output


def test_without_optuna_the_extra_is_named_and_nothing_is_written(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "is_installed", lambda: False)
    refused = CliRunner().invoke(run.app, ["sweep", str(file)])
    assert refused.exit_code == 2
    assert "optuna is not installed: pip install 'darkroom[sweeps]'" in refused.stderr
    assert not (file.parent / "runs").exists()


@pytest.mark.parametrize("has_folder", [False, True])
def test_held_out_pairs_are_named_unless_they_have_a_folder_of_their_own(
    file: Path, monkeypatch: pytest.MonkeyPatch, has_folder: bool
) -> None:
    def plan(config: Config, say: object) -> SimpleNamespace:
        if has_folder and config.data.validation_ids:
            raise DataError("data.validation_ids names 2 pairs, data.num_validation is 0")
        return SimpleNamespace(dataset=SimpleNamespace(held_out=("b", "a")))

    monkeypatch.setattr(tasks, "find", lambda name: SimpleNamespace(plan=plan))
    read = sweep_file.read(file, lambda name: None)
    assert HELD_OUT(read) == (() if has_folder else ("b", "a"))


def test_a_sweep_that_has_not_begun_has_no_status(file: Path) -> None:
    refused = CliRunner().invoke(run.app, ["sweep", str(file), "--status"])
    assert refused.exit_code == 2
    assert "holds no sweep yet" in refused.stderr
