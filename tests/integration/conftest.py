"""Whole runs on the tiny model, and ways to hold a trainer still or have it die at a chosen moment."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import pytest
from safetensors.torch import load_file

from shared.config.dumping import dump_config
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows
from tasks.text_to_image.lora.lora import LORA_FILE
from tests.conftest import Program, Warm, create_run, made_once, tiny_config, until

Starter = Callable[..., "Command"]
WELL_LEARNT: dict[str, dict[str, object]] = {
    "train": {"learning_rate": 2e-2, "lr_scheduler": "constant_with_warmup"},
    "lora": {"lora_alpha": 4},
    "evaluation": {"num_seeds": 2, "batch_size": 3},
}
"""Settings of a run of six steps whose snapshots differ visibly."""
TOKENS = {
    name: f"planted-{number}-0123456789"
    for number, name in enumerate(("HF_TOKEN", "WANDB_API_KEY", "MLFLOW_TRACKING_TOKEN", "DARKROOM_TOKEN"))
}
"""Secrets of the environment, which nothing may write down."""
NO_PICKLES = """
import pickle, numpy, torch
def refuse(*_, **__):
    raise RuntimeError("CANARY: something was unpickled")
class Refusing(pickle.Unpickler):
    def __init__(self, *_, **__):
        refuse()
pickle.load = pickle.loads = torch.load = refuse
pickle.Unpickler = pickle._Unpickler = Refusing
real = numpy.load
numpy.load = lambda *a, **k: refuse() if k.get("allow_pickle") else real(*a, **k)
"""
"""A prelude: from here on nothing can be unpickled."""


@dataclass
class Command:
    """`python run.py …` as a real process, with everything it ever started."""

    process: subprocess.Popen[bytes] | Program
    run: RunDir
    log: Path
    family: dict[int, psutil.Process] = field(default_factory=dict)

    def look(self) -> None:
        """Remember the children there are."""
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return
        self.family.update({child.pid: child for child in children})

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.process.pid, number)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something while it runs."""

        def met() -> bool:
            self.look()
            if condition():
                return True
            assert self.process.poll() is None, f"ended while waiting for {what}: {self.output()}"
            return False

        until(met, f"{what}; {self.log}")

    def wait(self) -> int:
        """Its exit code."""

        def ended() -> bool:
            self.look()
            return self.process.poll() is not None

        until(ended, f"the end of run.py; {self.log}", seconds=240)
        assert self.process.returncode is not None
        return self.process.returncode

    def left(self) -> list[psutil.Process]:
        """Its children that still run."""
        return [child for child in self.family.values() if alive(child)]

    def output(self) -> str:
        """What it has printed, and what its programs have logged."""
        logs = [self.log, *sorted(self.run.logs.glob("*.log"))]
        return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in logs)


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def start_run(warm: Warm, tmp_path: Path, tiny_model: Path, pictures: Path) -> Generator[Starter]:
    """Starts `run.py train CONFIG --no-dashboard`; what is left of it at the end of the test is killed.

    prelude, inner_prelude: code that `run.py` and its programs execute first. terminal: of `run.py`.
    """
    started: list[Command] = []

    def start(
        name: str = "run",
        prelude: str = "",
        inner_prelude: str = "",
        terminal: str = "",
        **sections: dict[str, object],
    ) -> Command:
        config = write_config(tmp_path, name, tiny_model, pictures, sections)
        log, inside = tmp_path / f"{name}.log", {"WARM_PRELUDE": inner_prelude}
        options: dict[str, Any] = {"log": log, "prelude": prelude, "environment": inside, "terminal": terminal}
        program = warm.start("run", "train", config, "--no-dashboard", **options)
        started.append(Command(program, RunDir(tmp_path / "runs" / name), log))
        return started[-1]

    yield start
    for command in started:
        command.look()
        for process in command.left():
            process.kill()
        if command.process.poll() is None:
            command.send(signal.SIGKILL)
        command.wait()


def write_config(folder: Path, name: str, model: Path, pictures: Path, sections: dict[str, dict[str, object]]) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(dump_config(tiny_config(folder / "runs", name, model, pictures, sections)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def finished(warm: Warm, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, pictures: Path) -> RunDir:
    """One run, trained and evaluated with `TOKENS` in the environment, while unpickling raises; tests read it and never
    change it."""

    def make(folder: Path) -> None:
        with patch.dict(os.environ, TOKENS):
            run = create_run(tiny_config(folder, "dress", tiny_model, pictures, WELL_LEARNT))
        for module in ("trainer", "evaluator"):
            program = warm.start(module, run.path, environment=TOKENS, prelude=NO_PICKLES)
            assert program.wait() == 0, program.stderr()
            assert not [token for token in TOKENS.values() if token in program.stdout() + program.stderr()]

    return RunDir(made_once(tmp_path_factory, "finished", make) / "dress")


def steps_of(path: Path) -> list[int]:
    """The `step` column."""
    return [int(row["step"]) for row in read_rows(path)]


def weights_of(run: RunDir, step: int) -> dict[str, bytes]:
    """A snapshot's tensors, bit for bit; what its header says of run and step is left out."""
    tensors = load_file(run.snapshot(step) / LORA_FILE)
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def hold_at(folder: Path, step: int) -> str:
    """A prelude: before this update the trainer makes the file `held` and waits for the file `go`."""
    return f"""
import time
from pathlib import Path
from trainer.learner import Learner
real = Learner.update
def update(self):
    if self.step + 1 == {step}:
        Path({str(folder / "held")!r}).touch()
        while not Path({str(folder / "go")!r}).exists():
            time.sleep(0.01)
    return real(self)
Learner.update = update
"""


def die_at_rename(number: int, *, before: bool) -> str:
    """A prelude: the trainer is killed right before or after the n-th time a folder gets its final name."""
    return f"""
import os, signal
from pathlib import Path
real, count = Path.rename, 0
def rename(self, target):
    global count
    count += 1
    if count == {number} and {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    outcome = real(self, target)
    if count == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return outcome
Path.rename = rename
"""


def die_at_fsync(number: int) -> str:
    """A prelude: the trainer is killed at its n-th fsync, in the middle of a save."""
    return f"""
import os, signal
real, count = os.fsync, 0
def fsync(descriptor):
    global count
    count += 1
    if count == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(descriptor)
os.fsync = fsync
"""


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def copy_of(run: RunDir, folder: Path) -> RunDir:
    """A run folder of the test's own."""
    shutil.copytree(run.path, folder / "copy")
    return RunDir(folder / "copy")


@pytest.fixture(scope="session")
def unevaluated_run(warm: Warm, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, pictures: Path) -> RunDir:
    """A run of 15 steps with a snapshot of each, none of them evaluated; enough held-out pairs for a final."""
    sections: dict[str, dict[str, object]] = {
        "data": {"num_validation": 7},
        "train": {
            "max_train_steps": 15,
            "snapshot_steps": 1,
            "checkpointing_steps": 15,
            "learning_rate": 2e-2,
            "lr_scheduler": "constant_with_warmup",
        },
        "lora": {"lora_alpha": 4},
        "evaluation": {"confirm_prompts": 4, "confirm_seeds": 1, "order": "oldest", "rescan_seconds": 0.5},
    }

    def make(folder: Path) -> None:
        warm.run("trainer", create_run(tiny_config(folder, "run", tiny_model, pictures, sections)).path)

    return RunDir(made_once(tmp_path_factory, "unevaluated", make) / "run")


@pytest.fixture(scope="session")
def evaluated_run(unevaluated_run: RunDir, warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The same, evaluated to the end by one evaluator; tests read both and never change them."""

    def make(folder: Path) -> None:
        warm.run("evaluator", copy_of(unevaluated_run, folder).path)

    return RunDir(made_once(tmp_path_factory, "evaluated", make) / "copy")
