"""`python run.py train` as a user starts it: to the end, through deaths of its programs, and stopped."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from shared.files.publication import verify
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from tests.conftest import ROOT, check, environment, until
from tests.integration.conftest import WELL_LEARNT, Command, Starter, alive, kill, steps_of, write_config

LONG: dict[str, dict[str, object]] = {
    "train": {"max_train_steps": 90, "snapshot_steps": 45, "checkpointing_steps": 45},
}
SLOWLY_EVALUATED: dict[str, dict[str, object]] = {**LONG, "evaluation": {"num_inference_steps": 20}}

WAIT_FOR_EVER = """
import threading
from pathlib import Path
mark = Path({mark!r})
def wait_for_ever():
    if not mark.exists():
        mark.touch()
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
"""
HANG_ONCE = {
    "trainer": WAIT_FOR_EVER
    + """
from trainer.learner import Learner
update = Learner.update
Learner.update = lambda self: (wait_for_ever() if self.step == 4 else None, update(self))[1]
""",
    "evaluator": WAIT_FOR_EVER
    + """
from evaluator.evaluate import Evaluator
evaluate = Evaluator.evaluate
Evaluator.evaluate = lambda self, step, **more: (wait_for_ever() if step else None, evaluate(self, step, **more))[1]
""",
}
"""What its programs execute first: the first time that one comes so far, it waits for a lock that it holds."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, pictures: Path) -> Command:
    """One run from beginning to end, every program started as a user's command starts it."""
    folder = tmp_path_factory.mktemp("whole")
    config = write_config(folder, "dress", tiny_model, pictures, WELL_LEARNT)
    with (folder / "dress.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "run.py", "train", str(config), "--no-dashboard"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(),
            cwd=ROOT,
            start_new_session=True,
        )
    command = Command(process, RunDir(folder / "runs" / "dress"), folder / "dress.log")
    assert command.wait() == 0, command.output()
    return command


def test_a_whole_run_ends_well_with_one_row_for_every_snapshot(whole: Command) -> None:
    run = whole.run
    assert steps_of(run.train_csv) == [1, 2, 3, 4, 5, 6]
    assert steps_in(run.snapshots) == {2, 4, 6}
    assert steps_in(run.checkpoints) == {4, 6}
    assert steps_of(run.metrics_csv) == [0, 2, 4, 6]
    rows = read_rows(run.metrics_csv)
    assert run.metrics_csv.read_text().startswith(
        "step,epoch,total_loss,visual_loss,fashion_clip_loss,color_loss,learning_rate,timestamp,"
    )
    losses = {row["step"]: row["loss"] for row in read_rows(run.train_csv)}
    assert all(row["status"] == "ok" for row in rows)
    assert all(row["total_loss"] == losses[row["step"]] for row in rows[1:])
    assert len(list((run.evaluation(2) / "images").glob("*.png"))) == 4
    assert check(run) == []


def test_a_whole_run_tells_its_story_and_leaves_no_process(whole: Command) -> None:
    text = whole.log.read_text(encoding="utf-8")
    assert f"run folder: {whole.run.path}" in text
    assert "evaluated base model: " in text
    assert all(f"evaluated step {step}: " in text for step in (2, 4, 6))
    assert "Best snapshot: step" in text
    assert f"file: {whole.run.path}/snapshots/step-" in text
    assert "Traceback" not in whole.output()
    assert len(whole.family) >= 2
    assert whole.left() == []
    for role in ("supervisor", "trainer", "evaluator"):
        status = read_status(whole.run, role)
        assert status
        assert status.state == "finished"
        assert not is_alive(status)


def test_a_killed_evaluator_comes_back_while_training_goes_on(start_run: Starter) -> None:
    command = start_run(**SLOWLY_EVALUATED)
    run = command.run

    def at_work() -> bool:
        status = read_status(run, "evaluator")
        return status is not None and status.state == "evaluating" and status.step > 0

    command.until(at_work, "an evaluation of a snapshot")
    victim, trainer = read_status(run, "evaluator"), read_status(run, "trainer")
    assert victim
    assert trainer
    kill(victim.pid)
    assert victim.step not in steps_in(run.evaluations), "it was killed in the middle of its work"
    assert command.wait() == 0, command.output()

    assert "the evaluator ended with code -9; starting it again" in command.log.read_text(encoding="utf-8")
    assert steps_of(run.metrics_csv) == [0, 45, 90]
    assert steps_of(run.train_csv) == list(range(1, 91))
    same, other = read_status(run, "trainer"), read_status(run, "evaluator")
    assert same
    assert other
    assert same.pid == trainer.pid, "the trainer was never started again"
    assert other.pid != victim.pid
    assert all(row["status"] == "ok" for row in read_rows(run.metrics_csv))
    assert check(run) == []
    assert command.left() == []


def test_a_killed_run_py_takes_its_programs_with_it_and_the_same_command_goes_on(start_run: Starter) -> None:
    command = start_run(**LONG)
    run = command.run
    command.until(lambda: len(steps_of(run.train_csv)) > 2 and len(command.family) >= 2, "some steps of training")
    bystander = psutil.Process()
    command.send(signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL
    until(lambda: not command.left(), "the programs to end after their supervisor", seconds=90)
    assert alive(bystander)
    status = read_status(run, "trainer")
    assert status
    assert status.state == "stopped"
    assert "supervisor has ended" in status.message
    last = steps_of(run.train_csv)[-1]
    assert last < 90
    verify(run.snapshot(last))
    verify(run.checkpoint(last))

    again = start_run(**LONG)
    assert again.wait() == 0, again.output()
    assert steps_of(run.train_csv) == list(range(1, 91))
    assert steps_of(run.metrics_csv) == sorted({0, 45, 90, last})
    assert check(run) == []
    assert again.left() == []


@pytest.mark.parametrize("role", ["trainer", "evaluator"])
def test_a_program_that_hangs_is_ended_and_the_run_ends_well(start_run: Starter, tmp_path: Path, role: str) -> None:
    """F11: a lock that is never released, which no signal to end reaches."""
    hang = HANG_ONCE[role].format(mark=str(tmp_path / "hung"))
    soon = "from shared.launch import hang_watch, supervisor\nsupervisor.GRACE_SECONDS, hang_watch.FACTOR = 0.5, 2.0\n"
    command = start_run(prelude=soon, inner_prelude=hang, run={"hang_seconds": 4.0 if role == "trainer" else 1.0})
    assert command.wait() == 0, command.output()
    run, text = command.run, " ".join(command.log.read_text(encoding="utf-8").split())
    assert f"• the {role} has done nothing for " in text
    assert f"so it is ended; where it hung is in {run.logs / f'{role}.log'}" in text
    assert "in wait_for_ever" in (run.logs / f"{role}.log").read_text(encoding="utf-8")
    assert f"the {role} ended with code -9; starting it again" in text
    assert steps_of(run.train_csv) == [1, 2, 3, 4, 5, 6]
    assert steps_of(run.metrics_csv) == [0, 2, 4, 6]
    assert all(row["status"] == "ok" for row in read_rows(run.metrics_csv))
    assert check(run) == []
    assert command.left() == []


def test_ctrl_c_ends_a_run_cleanly(start_run: Starter) -> None:
    command = start_run(train={"max_train_steps": 100_000, "snapshot_steps": 50_000, "checkpointing_steps": 50_000})
    run = command.run
    command.until(lambda: len(steps_of(run.train_csv)) > 2, "some steps of training")
    command.send(signal.SIGINT)
    assert command.wait() == 0, command.output()
    last = steps_of(run.train_csv)[-1]
    assert steps_in(run.snapshots) == steps_in(run.checkpoints) == {last}
    assert steps_of(run.metrics_csv) == [0, last], "what was learned is still evaluated"
    assert check(run) == []
    assert len(command.family) >= 2
    assert command.left() == []
    text = command.log.read_text(encoding="utf-8")
    assert "SIGINT: training stops after this step" in text
    assert f"• training stopped after step {last} of 100000: signal SIGTERM" in text
    assert "Traceback" not in command.output()


@dataclass
class Screen:
    """A terminal, and who reads what is shown on it."""

    keyboard: int
    name: str
    closing: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while not self.closing.is_set():
            if select.select([self.keyboard], [], [], 0.05)[0]:
                os.read(self.keyboard, 65536)

    def close(self) -> None:
        """Shut the window."""
        if not self.closing.is_set():
            self.closing.set()
            self._reader.join()
            os.close(self.keyboard)


@pytest.fixture
def screen() -> Generator[Screen]:
    keyboard, slave = pty.openpty()
    shown = Screen(keyboard, os.ttyname(slave))
    yield shown
    shown.close()
    os.close(slave)


ENDINGS: dict[str, Callable[[Command, Screen], object]] = {
    "Ctrl-C is pressed": lambda _, screen: os.write(screen.keyboard, b"\x03"),
    "the terminal is closed": lambda _, screen: screen.close(),
    "SIGTERM": lambda command, _: command.send(signal.SIGTERM),
    "SIGKILL": lambda command, _: command.send(signal.SIGKILL),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_however_a_run_ends_no_process_of_it_lives_and_a_bystander_with_a_similar_name_does(
    start_run: Starter, screen: Screen, how: str
) -> None:
    """F04, F34, F37."""
    endless = {"max_train_steps": 100_000, "snapshot_steps": 50_000, "checkpointing_steps": 50_000}
    command = start_run(terminal=screen.name, train=endless)
    run = command.run
    looks_like_it = [sys.executable, "-c", "import time; time.sleep(600)", "-m", "trainer", str(run.path)]
    bystander = subprocess.Popen(looks_like_it, cwd=ROOT, start_new_session=True)
    try:
        command.until(lambda: len(steps_of(run.train_csv)) > 2 and len(command.family) >= 2, "some steps of training")
        ENDINGS[how](command, screen)
        assert command.wait() == (-signal.SIGKILL if how == "SIGKILL" else 0), command.output()
        until(lambda: not command.left(), "the programs to end", seconds=90)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
    last = steps_of(run.train_csv)[-1]
    assert steps_in(run.snapshots) == steps_in(run.checkpoints) == {last}
    for role in ("trainer", "evaluator"):
        assert not is_alive(read_status(run, role))
    assert check(run) == []


def test_ctrl_c_before_training_began_is_no_failure(start_run: Starter) -> None:
    command = start_run(**LONG)
    command.until((command.run.logs / "trainer.log").exists, "the trainer to be started")
    command.send(signal.SIGINT)
    assert command.wait() == 0, command.output()
    assert steps_in(command.run.snapshots) == steps_in(command.run.checkpoints)
    assert command.left() == []


def test_two_dashboards_started_at_once_each_show_their_own_runs_and_end_with_ctrl_c(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(dashboard_over(tmp_path / name, port)) for name in ("one", "other")]
        addresses = [address_in(tmp_path / name / "log") for name in ("one", "other")]
        assert len(set(addresses)) == 2
        assert port in [int(address.rpartition(":")[2]) for address in addresses]
        for address, name in zip(addresses, ("one", "other"), strict=True):
            with urllib.request.urlopen(f"{address}/pictures/{name}.png", timeout=60) as answer:
                assert answer.status == 200
        for process in servers:
            family = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
            assert family
            assert not [child for child in family if alive(child)]


@contextlib.contextmanager
def dashboard_over(folder: Path, port: int) -> Generator[subprocess.Popen[bytes]]:
    """`run.py dashboard` over a folder that holds a picture of the folder's name; what it prints is in `log`."""
    folder.mkdir()
    (folder / f"{folder.name}.png").write_bytes(b"")
    command = [sys.executable, "run.py", "dashboard", str(folder), "--port", str(port)]
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def address_in(log: Path) -> str:
    """The address that was printed, once it is."""
    until(lambda: "Ctrl-C ends it" in log.read_text(), f"the dashboard; {log}", seconds=90)
    return next(word for word in log.read_text().split() if word.startswith("http://127.0.0.1:"))
