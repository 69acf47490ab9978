"""A run taken up again: with other settings, at another checkpoint, after a damaged one; paused; told to stop early."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.config.dumping import dump_config
from shared.config.loading import parse_config
from shared.config.schema import Config
from shared.files.publication import verify
from shared.launch import setting_changes
from shared.launch.resume import Resume
from shared.run_folder import checkpoints, requests
from shared.run_folder.heartbeat import read_status
from shared.run_folder.run_dir import RunDir, step_name, steps_in
from shared.run_folder.tables import read_rows
from shared.run_folder.times import parse_time
from tests.conftest import RunMaker, Warm, check, create_run, open_or_create, tiny_config, until
from tests.integration.conftest import hold_at, steps_of, weights_of

ENDLESS: dict[str, object] = {"max_train_steps": 100_000, "snapshot_steps": 50_000, "checkpointing_steps": 50_000}


def changed(run: RunDir, **sections: dict[str, object]) -> Config:
    tree = run.read_config().model_dump(mode="json", exclude_none=True)
    for section, values in sections.items():
        tree[section].update(values)
    return parse_config(tree)


def test_a_changed_learning_rate_shows_from_the_next_step_on(warm: Warm, make_run: RunMaker) -> None:
    run = make_run(train={"max_train_steps": 4, "lr_scheduler": "constant", "learning_rate": 1e-3})
    warm.run("trainer", run.path)
    train: dict[str, object] = {"learning_rate": 1e-2, "weight_decay": 0.25, "max_train_steps": 6}
    made = setting_changes.apply(run, changed(run, train=train), [f"train.{key}" for key in train])
    assert {change.step for change in made} == {4}
    warm.run("trainer", run.path)
    assert [float(row["learning_rate"]) for row in read_rows(run.train_csv)] == [1e-3] * 4 + [1e-2] * 2
    state = json.loads((run.checkpoint(6) / "state.json").read_text())
    assert state["param_groups"][0]["weight_decay"] == 0.25, "the checkpoint's own does not win"
    assert weights_of(run, 6) != weights_of(run, 4)
    assert check(run) == []


def test_a_run_that_begins_at_a_checkpoint_goes_on_like_the_one_it_was_taken_from(
    warm: Warm, make_run: RunMaker, tmp_path: Path, tiny_model: Path, pictures: Path
) -> None:
    first = make_run("first", train={"max_train_steps": 6, "checkpointing_steps": 2})
    warm.run("trainer", first.path)
    config = tiny_config(tmp_path / "runs", "second", tiny_model, pictures, {})
    second = create_run(config, lambda run: checkpoints.adopt(run, first.checkpoint(4)))
    warm.run("trainer", second.path)
    assert steps_of(second.train_csv) == [5, 6]
    assert weights_of(second, 6) == weights_of(first, 6)
    assert [row["loss"] for row in read_rows(second.train_csv)] == [
        row["loss"] for row in read_rows(first.train_csv)[4:]
    ]
    assert check(second) == []


def test_a_run_taken_back_to_an_earlier_checkpoint_goes_on_from_there(
    warm: Warm, make_run: RunMaker, tmp_path: Path
) -> None:
    run = make_run(train={"snapshot_steps": 6, "checkpointing_steps": 1, "checkpoints_total_limit": 5})
    stopped_at(6, warm, run, tmp_path, signal.SIGKILL, saved=4)
    later = sorted(step for step in steps_in(run.checkpoints) if step > 3)  # the last may not have been saved yet
    assert later[:1] == [4]
    resume = Resume(allow_change=("train.learning_rate",), from_checkpoint=run.checkpoint(3))
    config = changed(run, train={"learning_rate": 0.5, "lr_scheduler": "cosine"})
    assert open_or_create(config, resume, lambda text: None, lambda: None) == run
    program = warm.run("trainer", run.path)
    assert "resuming after step 3" in program.stderr()
    assert [change.step for change in run.read_record().changes] == [3]
    assert steps_of(run.train_csv) == list(range(1, 7))
    assert [float(row["learning_rate"]) > 1e-2 for row in read_rows(run.train_csv)] == [False] * 3 + [True] * 3
    left = sorted(path.name[:18] for path in run.checkpoints.glob("left-*"))
    assert left == [f"left-{step_name(step)}" for step in later]
    assert check(run) == []


def stopped_at(
    step: int, warm: Warm, run: RunDir, folder: Path, kill: signal.Signals = signal.SIGTERM, saved: int | None = None
) -> None:
    """Train until a step and end there. saved: the step of a checkpoint that is complete by then."""
    trainer = warm.start("trainer", run.path, prelude=hold_at(folder, step))
    until((folder / "held").exists, f"step {step}")
    if saved is not None:
        until(run.checkpoint(saved).exists, f"the checkpoint of step {saved}")
    trainer.kill(kill)
    (folder / "go").touch()
    trainer.wait()


def test_a_damaged_checkpoint_is_said_at_the_terminal_and_costs_only_its_steps(
    warm: Warm, make_run: RunMaker, tmp_path: Path
) -> None:
    run = make_run()
    stopped_at(4, warm, run, tmp_path)
    (run.checkpoint(4) / "adapter.safetensors").write_bytes(b"")
    config = tmp_path / "run.toml"
    config.write_text(dump_config(run.read_config()), encoding="utf-8")
    command = warm.start("run", "train", config, "--no-evaluator", "--no-dashboard")
    assert command.wait() == 0, command.stderr()
    (aside,) = run.checkpoints.glob("damaged-step-00000004-*")
    assert "• checkpoint of step 4 is damaged, falling back to the one before" in command.stdout()
    assert aside.name in command.stdout().replace("\n", "")
    assert "checkpoint of step 4 is damaged" in (run.logs / "trainer.log").read_text()
    status = read_status(run, "trainer")
    assert status
    assert any("is damaged" in notice for notice in status.notices)
    assert steps_of(run.train_csv) == list(range(1, 7))
    assert check(run) == []


def test_a_run_whose_checkpoints_are_all_damaged_is_not_begun_anew(
    warm: Warm, make_run: RunMaker, tmp_path: Path
) -> None:
    run = make_run()
    stopped_at(4, warm, run, tmp_path)
    for step in steps_in(run.checkpoints):
        (run.checkpoint(step) / "state.json").unlink()
    rows = run.train_csv.read_bytes()
    for _ in range(2):
        program = warm.start("trainer", run.path)
        assert program.wait() == 2
        assert "error: every checkpoint of " in program.stderr()
        assert "hint: restore one" in program.stderr()
        assert "Traceback" not in program.stderr()
    assert run.train_csv.read_bytes() == rows


def test_a_run_killed_before_its_first_checkpoint_says_that_it_begins_again(
    warm: Warm, make_run: RunMaker, tmp_path: Path
) -> None:
    run = make_run(train={"checkpointing_steps": 5})
    stopped_at(4, warm, run, tmp_path, signal.SIGKILL)
    program = warm.run("trainer", run.path)
    assert "training starts again at step 1 and repeats 3 steps" in program.stderr()
    assert steps_of(run.train_csv) == list(range(1, 7))


def test_a_checkpoint_of_another_batch_size_is_refused(warm: Warm, make_run: RunMaker) -> None:
    """What the settings cannot tell: the number of processes."""
    run = make_run(train={"max_train_steps": 4})
    warm.run("trainer", run.path)
    setting_changes.apply(run, changed(run, train={"max_train_steps": 6}), ["train.max_train_steps"])
    path = run.checkpoint(4) / "manifest.json"
    path.write_text(path.read_text().replace('"pictures_per_step": 2', '"pictures_per_step": 6'))
    program = warm.start("trainer", run.path)
    assert program.wait() == 2
    assert "made with 6 examples per update over all processes, now there are 2" in program.stderr()


@pytest.fixture
def endless(make_run: RunMaker) -> RunDir:
    return make_run(train=ENDLESS)


def state_is(run: RunDir, state: str) -> Callable[[], bool]:
    def met() -> bool:
        status = read_status(run, "trainer")
        return status is not None and status.state == state

    return met


def test_a_paused_run_holds_with_its_heart_beating_publishes_what_is_asked_goes_on_and_can_be_stopped(
    warm: Warm, endless: RunDir
) -> None:
    run, trainer = endless, warm.start("trainer", endless.path)
    until(lambda: len(steps_of(run.train_csv)) > 2, f"some steps; {trainer.err}")
    pause = requests.submit(run, "pause", by="a test")
    until(state_is(run, "paused"), "the pause")
    held = read_status(run, "trainer")
    assert held
    step = steps_of(run.train_csv)[-1]
    assert requests.read_answer(run, pause).done
    assert (held.step, held.message) == (step, f"after step {step}")

    wanted = requests.submit(run, "snapshot-now", by="a test")
    until(lambda: requests.read_answer(run, wanted).done, "the snapshot")
    verify(run.snapshot(step))
    until(lambda: (read_status(run, "trainer") or held).heartbeat > held.heartbeat, "a heartbeat")
    assert steps_of(run.train_csv)[-1] == step

    resume = requests.submit(run, "resume", by="a test")
    until(lambda: steps_of(run.train_csv)[-1] > step, "training to go on")
    assert requests.read_answer(run, resume).done
    assert state_is(run, "training")()
    wanted = requests.submit(run, "snapshot-now", by="a test")
    until(lambda: requests.read_answer(run, wanted).done, "another snapshot")
    while_training = requests.read_answer(run, wanted).step
    assert while_training
    verify(run.snapshot(while_training))

    requests.submit(run, "pause", by="a test")
    until(state_is(run, "paused"), "the second pause")
    stop = requests.submit_stop(run, by="a test")
    assert trainer.wait() == 0, trainer.stderr()
    last = steps_of(run.train_csv)[-1]
    assert max(steps_in(run.snapshots)) == max(steps_in(run.checkpoints)) == last
    assert requests.read_answer(run, stop).stopped
    assert state_is(run, "stopped")()
    assert check(run) == []


def test_a_pause_does_not_outlive_the_session_it_was_asked_of(warm: Warm, make_run: RunMaker, tmp_path: Path) -> None:
    run = make_run()
    trainer = warm.start("trainer", run.path, prelude=hold_at(tmp_path, 3))
    until((tmp_path / "held").exists, "step 3")
    pause = requests.submit(run, "pause", by="a test")
    trainer.kill(signal.SIGKILL)
    trainer.wait()
    warm.run("trainer", run.path)
    assert steps_of(run.train_csv) == list(range(1, 7))
    assert requests.read_answer(run, pause).ignored == "asked of an earlier session"


def test_a_session_ends_within_its_time_with_everything_saved(warm: Warm, make_run: RunMaker) -> None:
    limit = 12.0
    run = make_run(train=ENDLESS, stop={"max_train_seconds": limit})
    trainer = warm.run("trainer", run.path)
    status = read_status(run, "trainer")
    assert status
    assert (status.state, status.message) == ("stopped", "stop.max_train_seconds (12) is nearly over"), trainer.stderr()
    last = steps_of(run.train_csv)[-1]
    saved = verify(run.snapshot(last)).created, verify(run.checkpoint(last)).created
    assert max(parse_time(time).timestamp() for time in saved) - status.process_started < limit


SIGTERM_ONCE = """
import os, signal
from {module} import {owner}
real, sent = {owner}.{name}, []
def call(*arguments, **options):
    if not sent:
        sent.append(os.kill(os.getpid(), signal.SIGTERM))
    return real(*arguments, **options)
{owner}.{name} = call
"""
PHASES = {
    "while the model is loaded": ("tasks.text_to_image.families", "loading", "load_model"),
    "while pictures are encoded": ("tasks.text_to_image.data.cache", "Cache", "encode_pictures"),
    "in the middle of a step": ("trainer.learner", "Learner", "_loss"),
    "in the middle of a save": ("shared.files", "publication", "seal"),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_signal_at_any_time_ends_a_trainer_cleanly_and_the_next_goes_on(
    warm: Warm, make_run: RunMaker, phase: str
) -> None:
    run, (module, owner, name) = make_run(train={"max_train_steps": 5}), PHASES[phase]
    trainer = warm.run("trainer", run.path, prelude=SIGTERM_ONCE.format(module=module, owner=owner, name=name))
    status = read_status(run, "trainer")
    assert status
    assert (status.state, status.message) == ("stopped", "signal SIGTERM"), trainer.stderr()
    steps = steps_of(run.train_csv)
    assert len(steps) < 5
    assert bool(steps) == (phase in ("in the middle of a step", "in the middle of a save"))
    if steps:
        verify(run.snapshot(steps[-1]))
        verify(run.checkpoint(steps[-1]))
    assert check(run) == []
    warm.run("trainer", run.path)
    assert steps_of(run.train_csv) == [1, 2, 3, 4, 5]
