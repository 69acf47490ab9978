"""Training on the tiny model: what it writes, how it stops, and that a resumed run equals an uninterrupted one."""

from __future__ import annotations

import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from shared.config.schema import Config
from shared.files.publication import verify
from shared.run_folder import requests
from shared.run_folder.heartbeat import read_status
from shared.run_folder.records.request import Request
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import TRAIN_COLUMNS, read_rows
from tasks.text_to_image.lora.lora import LORA_FILE
from tasks.text_to_image.training.held_out_loss import NUM_STRATA
from tests.conftest import RunMaker, Warm, check, create_run, tiny_config, until
from tests.integration.conftest import die_at_fsync, die_at_rename, hold_at, steps_of

MACHINE_DEPENDENT = {"samples_per_second", "step_seconds", "process_rss_mib", "seconds", "timestamp"}
SECTIONS: dict[str, dict[str, object]] = {
    "train": {
        "max_train_steps": 8,
        "snapshot_steps": 3,
        "checkpointing_steps": 2,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-2,
        "lr_warmup_steps": 3,
        "validation_steps": 3,
    },
    "lora": {"dropout": 0.25},
}


@dataclass(frozen=True)
class Outcome:
    """Everything of a run that must not depend on how often it was interrupted."""

    rows: list[dict[str, str]]
    validation: list[dict[str, str]]
    files: dict[str, bytes]


def outcome(run: RunDir) -> Outcome:
    rows, validation = (
        [{column: value for column, value in row.items() if column not in MACHINE_DEPENDENT} for row in read_rows(path)]
        for path in (run.train_csv, run.validation_csv)
    )
    folders = [*(run.snapshot(step) for step in (3, 6, 8)), run.checkpoint(8)]
    files = {
        path.relative_to(run.path).as_posix(): path.read_bytes()
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.name != "manifest.json"
    }
    return Outcome(rows, [*validation, *read_rows(run.validation_examples_csv)], files)


@pytest.fixture(scope="session")
def straight(
    warm: Warm, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, pictures: Path
) -> tuple[RunDir, Outcome]:
    """A run that nothing interrupted."""
    run = create_run(tiny_config(tmp_path_factory.mktemp("straight"), "run", tiny_model, pictures, SECTIONS))
    warm.run("trainer", run.path)
    return run, outcome(run)


def test_a_schedule_free_optimizer_ships_its_average_and_is_resumed_bit_for_bit(
    make_run: RunMaker, warm: Warm, tmp_path: Path
) -> None:
    train: dict[str, object] = {"max_train_steps": 4, "learning_rate": 1.0, "lr_scheduler": "constant"}
    run = make_run(train={**train, "validation_steps": 2, "optimizer": "tests.local_optimizers.ScheduleFree"})
    warm.run("trainer", run.path)
    learning, used = load_file(run.checkpoint(4) / "adapter.safetensors"), load_file(run.snapshot(4) / LORA_FILE)
    assert learning.keys() == used.keys()
    assert any(not torch.equal(value, used[name]) for name, value in learning.items())
    held_out_loss = read_rows(run.validation_csv)[-1]["held_out_loss"]
    run.checkpoint(4).rename(tmp_path / "aside")
    warm.run("trainer", run.path)
    again = load_file(run.checkpoint(4) / "adapter.safetensors")
    assert read_rows(run.validation_csv)[-1]["held_out_loss"] == held_out_loss
    assert all(torch.equal(value, again[name]) for name, value in learning.items())
    assert (run.checkpoint(4) / "optimizer.safetensors").read_bytes() == (
        tmp_path / "aside" / "optimizer.safetensors"
    ).read_bytes()


def test_a_moving_average_is_published_and_resumed_bit_for_bit(make_run: RunMaker, warm: Warm, tmp_path: Path) -> None:
    saves = {"snapshot_steps": 1, "checkpointing_steps": 1, "checkpoints_total_limit": 9, "validation_steps": 2}
    run = make_run(train={"max_train_steps": 4, "learning_rate": 1e-2, "ema_decay": 0.3, **saves})
    warm.run("trainer", run.path)
    learning = [load_file(run.checkpoint(step) / "adapter.safetensors") for step in (1, 2, 3, 4)]
    expected = learning[0]
    for step, weights in enumerate(learning, 1):
        decay = min(0.3, step / (9 + step)) if step > 1 else 0
        expected = {key: decay * expected[key] + (1 - decay) * value for key, value in weights.items()}
        published = load_file(run.snapshot(step) / LORA_FILE)
        assert published.keys() == expected.keys()
        assert all(torch.allclose(published[key], expected[key], atol=1e-7) for key in expected)
        averaged = load_file(run.checkpoint(step) / "ema.safetensors")
        assert all(torch.equal(published[key], averaged[key]) for key in averaged)
    assert any(not torch.equal(expected[key], value) for key, value in learning[-1].items())

    rows = [row["held_out_loss"] for row in read_rows(run.validation_csv)]
    aside: dict[str, dict[str, bytes]] = {}
    for folder in (run.checkpoint(3), run.checkpoint(4), run.snapshot(3), run.snapshot(4)):
        name = folder.relative_to(run.path).as_posix()
        aside[name] = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}
        shutil.rmtree(folder)
    program = warm.run("trainer", run.path)
    assert "resuming after step 2" in program.stderr()
    for name, files in aside.items():
        assert all((run.path / name / file).read_bytes() == data for file, data in files.items()), name
    assert [row["held_out_loss"] for row in read_rows(run.validation_csv)] == rows


def test_training_writes_what_the_design_says(straight: tuple[RunDir, Outcome]) -> None:
    run, result = straight
    assert steps_in(run.snapshots) == {3, 6, 8}
    assert steps_in(run.checkpoints) == {6, 8}, "two are kept"
    for folder in (*run.snapshots.iterdir(), *run.checkpoints.iterdir()):
        verify(folder)
    assert steps_of(run.train_csv) == list(range(1, 9))
    rows = read_rows(run.train_csv)
    assert tuple(rows[0]) == TRAIN_COLUMNS
    learning_rates = [float(row["learning_rate"]) for row in rows]
    assert learning_rates[:4] == pytest.approx([0, 1e-2 / 3, 2e-2 / 3, 1e-2])
    assert learning_rates[4:] == sorted(learning_rates[4:], reverse=True)
    assert all(float(row["loss"]) > 0 and float(row["process_rss_mib"]) > 0 for row in rows)
    assert float(rows[-1]["epoch"]) == pytest.approx(8 * 4 / 9, abs=1e-3)
    details = run.published_snapshots()[6].details
    assert (details["loss"], details["rank"], details["lora_alpha"]) == (float(rows[5]["loss"]), 2, 2)
    status = read_status(run, "trainer")
    assert status
    assert (status.state, status.step, status.total) == ("finished", 8, 8)
    assert list(run.staging.iterdir()) == []
    names = [name for name in result.files if name.endswith("lora_weights.safetensors")]
    assert len({result.files[name] for name in names}) == len(names) == 3


def test_the_held_out_loss_is_measured_at_its_steps(straight: tuple[RunDir, Outcome]) -> None:
    run, _ = straight
    rows = read_rows(run.validation_csv)
    strata_names = [f"held_out_t{stratum}" for stratum in range(NUM_STRATA)]
    losses = ("held_out_loss", "train_probe_loss", "gap", *strata_names)
    assert tuple(rows[0]) == ("step", *losses, "num_pictures", "seconds", "timestamp")
    assert steps_of(run.validation_csv) == [0, 3, 6, 8], "the base model, every third step, the last"
    for row in rows:
        strata = [float(row[name]) for name in strata_names]
        assert float(row["held_out_loss"]) == pytest.approx(sum(strata) / NUM_STRATA)
        assert float(row["gap"]) == pytest.approx(float(row["held_out_loss"]) - float(row["train_probe_loss"]))
        assert row["num_pictures"] == "3"
    assert len({row["held_out_loss"] for row in rows}) == 4
    for row, step in zip(rows, (0, 3, 6, 8), strict=True):
        of_step = [example for example in read_rows(run.validation_examples_csv) if example["step"] == str(step)]
        losses = {example["id"]: float(example["loss"]) for example in of_step if example["part"] == "held out"}
        assert losses.keys() == set(run.read_record().dataset.held_out)
        assert sum(losses.values()) / 3 == pytest.approx(float(row["held_out_loss"]))
        assert sum(example["part"] == "probe" for example in of_step) == 3


def test_measuring_the_held_out_loss_changes_nothing_else(
    straight: tuple[RunDir, Outcome], warm: Warm, make_run: RunMaker
) -> None:
    run = make_run(**{**SECTIONS, "train": {**SECTIONS["train"], "validation_steps": False}})
    warm.run("trainer", run.path)
    assert not run.validation_csv.exists()
    assert not run.validation_examples_csv.exists()
    without, measured = outcome(run), straight[1]
    assert (without.rows, without.files) == (measured.rows, measured.files)


def test_a_finished_run_is_left_as_it_is(straight: tuple[RunDir, Outcome], warm: Warm) -> None:
    run, result = straight
    program = warm.run("trainer", run.path)
    assert "already complete at step 8 of 8" in program.stderr()
    assert outcome(run) == result


@pytest.mark.parametrize(
    "deaths",
    [
        pytest.param([die_at_rename(1, before=True), die_at_rename(2, before=False)], id="around a rename"),
        pytest.param([die_at_fsync(6), die_at_fsync(12), die_at_fsync(14)], id="in the middle of a save"),
    ],
)
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(
    straight: tuple[RunDir, Outcome], warm: Warm, make_run: RunMaker, deaths: list[str]
) -> None:
    run = make_run(**SECTIONS)
    for prelude in deaths:
        assert warm.start("trainer", run.path, prelude=prelude).wait() == -signal.SIGKILL
        for step in steps_in(run.snapshots):
            verify(run.snapshot(step))
    program = warm.run("trainer", run.path)
    assert outcome(run) == straight[1], program.stderr()
    assert check(run) == []
    assert steps_of(run.train_csv) == list(range(1, 9))


def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(
    straight: tuple[RunDir, Outcome], warm: Warm, make_run: RunMaker, tmp_path: Path
) -> None:
    run = make_run(**SECTIONS)
    trainer = warm.start("trainer", run.path, prelude=hold_at(tmp_path, 5))
    until((tmp_path / "held").exists, "step 5")
    trainer.kill(signal.SIGTERM)
    (tmp_path / "go").touch()
    assert trainer.wait() == 0, trainer.stderr()
    assert steps_of(run.train_csv) == [1, 2, 3, 4, 5], "the step at hand is finished, no further one begun"
    assert max(steps_in(run.snapshots)) == max(steps_in(run.checkpoints)) == 5
    status = read_status(run, "trainer")
    assert status
    assert (status.state, status.message, status.step) == ("stopped", "signal SIGTERM", 5)

    program = warm.run("trainer", run.path)
    assert "resuming after step 5" in program.stderr()
    assert outcome(run) == straight[1]


def test_another_seed_is_another_run(straight: tuple[RunDir, Outcome], warm: Warm, make_run: RunMaker) -> None:
    train = {**SECTIONS["train"], "seed": 1}
    run = make_run(lora=SECTIONS["lora"], train=train)
    warm.run("trainer", run.path)
    other, same = outcome(run), straight[1]
    assert [row["loss"] for row in other.rows] != [row["loss"] for row in same.rows]
    weights = "snapshots/step-00000008/pytorch_lora_weights.safetensors"
    assert other.files[weights] != same.files[weights]


def test_a_damaged_checkpoint_costs_its_steps_and_nothing_else(
    straight: tuple[RunDir, Outcome], warm: Warm, make_run: RunMaker, tmp_path: Path
) -> None:
    run = make_run(**SECTIONS)
    trainer = warm.start("trainer", run.path, prelude=hold_at(tmp_path, 7))
    until(lambda: steps_in(run.checkpoints) == {4, 6}, "the checkpoints of steps 4 and 6")
    trainer.kill(signal.SIGKILL)
    assert trainer.wait() == -signal.SIGKILL
    optimizer = run.checkpoint(6) / "optimizer.safetensors"
    optimizer.write_bytes(optimizer.read_bytes()[:-8])
    program = warm.run("trainer", run.path)
    assert "checkpoint of step 6 is damaged" in program.stderr()
    assert "removed 2 rows past step 4" in program.stderr()
    assert outcome(run) == straight[1]


def test_a_request_stops_training_within_one_step_and_is_answered_to_the_end(
    warm: Warm, make_run: RunMaker, tmp_path: Path
) -> None:
    run = make_run()
    trainer = warm.start("trainer", run.path, prelude=hold_at(tmp_path, 3))
    until((tmp_path / "held").exists, "step 3")
    request = requests.submit_stop(run, by="the dashboard")
    assert requests.submit_stop(run, by="another tab") == request
    (tmp_path / "go").touch()
    assert trainer.wait() == 0, trainer.stderr()

    assert steps_of(run.train_csv) == [1, 2, 3]
    verify(run.snapshot(3))
    verify(run.checkpoint(3))
    answer = requests.read_answer(run, request)
    assert answer.seen
    assert answer.saved
    assert answer.stopped
    assert answer.seen <= answer.saved <= answer.stopped
    assert answer.step == 3
    status = read_status(run, "trainer")
    assert status
    assert (status.state, status.message) == ("stopped", "requested by the dashboard")

    stale = Request(
        id="stop-stale", kind="stop", run_id=run.read_record().run_id, by="a ghost", created="2026-01-01T00:00:00+00:00"
    )
    stale.write(run.control / "stop-stale.json")
    warm.run("trainer", run.path)
    assert steps_of(run.train_csv) == [1, 2, 3, 4, 5, 6]
    settled = requests.read_answer(run, stale)
    assert settled.ignored
    assert settled.stopped is None


def test_a_save_that_fails_ends_training_with_its_error_and_the_run_resumes(warm: Warm, make_run: RunMaker) -> None:
    run = make_run()
    full_disk = """
from tasks.text_to_image.lora import lora
def write(*arguments):
    raise OSError(28, "No space left on device")
lora.write = write
"""
    program = warm.start("trainer", run.path, prelude=full_disk)
    assert program.wait() == 1
    assert "No space left on device" in program.stderr()
    status = read_status(run, "trainer")
    assert status
    assert status.state == "failed"
    assert "No space left" in status.message
    assert steps_in(run.snapshots) == set()
    warm.run("trainer", run.path)
    assert steps_of(run.train_csv) == list(range(1, 7))


def test_a_data_set_that_changed_is_refused_by_a_resumed_run(
    warm: Warm, tmp_path: Path, tiny_model: Path, pictures: Path
) -> None:
    copied = tmp_path / "pictures"
    shutil.copytree(pictures, copied)
    config: Config = tiny_config(tmp_path / "runs", "run", tiny_model, copied, {})
    run = create_run(config)
    next(copied.glob("*.txt")).write_text("other words")
    program = warm.start("trainer", run.path)
    assert program.wait() == 2
    assert program.stderr().count("error: ") == 1
    assert "has changed since this run was made" in program.stderr()
    assert "Traceback" not in program.stderr()
