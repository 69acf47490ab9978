"""Several training processes on gloo: one run, the same numbers as one process with the same global batch.

The processes are started with the variables a launcher sets (RANK, WORLD_SIZE, MASTER_PORT …); what launchers add to
that, ending the others when one dies and starting all again, is asked of torchrun itself in the slow test.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from shared.config.dumping import dump_config
from shared.files.publication import verify
from shared.launch.process_group import places
from shared.run_folder import requests
from shared.run_folder.heartbeat import read_status
from shared.run_folder.run_dir import RunDir, open_run, steps_in
from shared.run_folder.tables import read_rows
from tasks.text_to_image.training.held_out_loss import NUM_STRATA
from tasks.text_to_image.weights.whole_denoiser import WEIGHTS_FILE
from tests.conftest import ROOT, Program, RunMaker, Warm, check, create_run, environment, run_python, tiny_config, until
from tests.integration.conftest import Starter, die_at_rename, hold_at, steps_of

STEPS = 4
GLOBAL_BATCH = 6
SIZES = [(72, 72)] * 8 + [(58, 72)] * 5 + [(36, 72)] * 5
NUMBERS = (2, pytest.param(3, marks=pytest.mark.slow))
Equal = Callable[[int], RunDir]
LOSSES = ("held_out_loss", "train_probe_loss", "gap", *(f"held_out_t{stratum}" for stratum in range(NUM_STRATA)))


@dataclass(frozen=True)
class Job:
    """The processes of one run, by rank."""

    run: RunDir
    programs: list[Program]

    def codes(self) -> list[int]:
        """Their exit codes, once all have ended."""
        return [program.wait() for program in self.programs]

    def said(self) -> str:
        """What they have logged."""
        return "\n".join(program.stderr() for program in self.programs)


def start(warm: Warm, run: RunDir, processes: int, preludes: dict[int, str] | None = None) -> Job:
    """Start a trainer of several processes; `preludes`: code that a rank executes first."""
    own = preludes or {}
    return Job(
        run,
        [
            warm.start("trainer", run.path, prelude=own.get(rank, ""), environment=place)
            for rank, place in enumerate(places(processes))
        ],
    )


def train(warm: Warm, run: RunDir, processes: int, preludes: dict[int, str] | None = None) -> Job:
    """Run it to its end, which must be exit code 0 everywhere."""
    job = start(warm, run, processes, preludes)
    assert job.codes() == [0] * processes, job.said()
    return job


def settings(processes: int) -> dict[str, dict[str, object]]:
    return {
        "data": {"resolution": 72, "random_flip": True, "caption_dropout": 0.3},
        "train": {
            "max_train_steps": STEPS,
            "train_batch_size": GLOBAL_BATCH // processes,
            "learning_rate": 1e-2,
            "validation_steps": 2,
        },
    }


def die_at_update(step: int) -> str:
    """A prelude: the trainer is killed in the middle of this update."""
    return f"""
import os, signal
from trainer.learner import Learner
real = Learner._loss
def loss(self, positions):
    if self.step + 1 == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, positions)
Learner._loss = loss
"""


def count_encodings(folder: Path) -> str:
    """A prelude: each process leaves the number of pictures it has encoded in a file of its own."""
    return f"""
import os
from pathlib import Path
from tasks.text_to_image.data.cache import Cache
real = Cache.encode_pictures
def encode_pictures(self, missing, progress):
    with (Path({str(folder)!r}) / os.environ.get("RANK", "0")).open("a") as file:
        file.write(f"{{len(missing)}}\\n")
    real(self, missing, progress)
Cache.encode_pictures = encode_pictures
"""


@pytest.fixture(scope="module")
def mixed_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of three shapes; a bucket of the second would hold fewer than the global batch, and joins the first."""
    folder = tmp_path_factory.mktemp("mixed")
    for number, size in enumerate(SIZES):
        noise = np.random.default_rng(number).normal(128, 90, (*size[::-1], 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noise).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(f"garment {number}, red, silk")
    return folder


@pytest.fixture(scope="module")
def equal(warm: Warm, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, mixed_pictures: Path) -> Equal:
    """The same run on so many processes, each with a cache of its own; `encoded/` counts what each rank encoded."""

    def trained(processes: int) -> RunDir:
        folder = tmp_path_factory.mktemp(f"ranks-{processes}")
        run = create_run(tiny_config(folder, "run", tiny_model, mixed_pictures, settings(processes)))
        (folder / "encoded").mkdir()
        count = count_encodings(folder / "encoded")
        train(warm, run, processes, dict.fromkeys(range(processes), count))
        return run

    return cache(trained)


def adapter(run: RunDir, step: int = STEPS) -> dict[str, torch.Tensor]:
    return load_file(run.snapshot(step) / "pytorch_lora_weights.safetensors")


def of_part(weights: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in weights.items() if key.split(".")[0] == part}


def relative_distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Of two adapters as a whole: Adam moves single weights whose gradients are zero but for rounding either way."""
    assert one.keys() == other.keys()
    difference = sum((one[key] - other[key]).square().sum() for key in other)
    return float((difference / sum(value.square().sum() for value in other.values())) ** 0.5)


def apart(one: RunDir, other: RunDir, table: str, columns: tuple[str, ...]) -> float:
    """The largest difference between two runs in these columns of a table."""
    pairs = zip(read_rows(one.path / table), read_rows(other.path / table), strict=True)
    return max(abs(float(row[column]) - float(same[column])) for row, same in pairs for column in columns)


@pytest.mark.parametrize("processes", NUMBERS)
def test_processes_learn_together_what_one_learns_alone(equal: Equal, processes: int) -> None:
    one, several = equal(1), equal(processes)
    assert steps_of(several.train_csv) == list(range(1, STEPS + 1))
    assert apart(one, several, "train.csv", ("loss", "grad_norm")) < 1e-4
    assert apart(one, several, "train.csv", ("epoch", "learning_rate")) == 0
    assert steps_in(several.snapshots) == steps_in(one.snapshots) == {2, 4}
    assert relative_distance(adapter(several), adapter(one)) < 5e-4
    assert check(several) == []


@pytest.mark.parametrize("processes", NUMBERS)
def test_the_held_out_loss_does_not_depend_on_how_many_measure_it(equal: Equal, processes: int) -> None:
    one, several = equal(1), equal(processes)
    assert steps_of(several.validation_csv) == [0, 2, 4]
    assert {row["num_pictures"] for row in read_rows(several.validation_csv)} == {"3"}
    assert apart(one, several, "validation.csv", LOSSES) < 1e-6
    assert apart(several, several, "validation.csv", LOSSES) == 0
    first, _, last = (float(row["held_out_loss"]) for row in read_rows(several.validation_csv))
    assert abs(first - last) > 1e-3, "it sees that the adapter has changed"


@pytest.mark.parametrize(
    ("family", "parts"),
    [
        ("sd1", ("unet", "text_encoder")),
        pytest.param("sdxl", ("unet", "text_encoder", "text_encoder_2"), marks=pytest.mark.slow),
    ],
)
def test_text_encoders_learn_together_what_they_learn_alone(
    warm: Warm, tmp_path: Path, tiny_models: Path, mixed_pictures: Path, family: str, parts: tuple[str, ...]
) -> None:
    one, two = (
        create_run(tiny_config(tmp_path / f"runs-{processes}", "run", tiny_models / family, mixed_pictures, sections))
        for processes in (1, 2)
        for sections in [{**settings(processes), "lora": {"text_encoder": True}}]
    )
    train(warm, one, 1)
    train(warm, two, 2)
    assert apart(one, two, "train.csv", ("loss", "grad_norm")) < 1e-4
    assert apart(one, two, "validation.csv", LOSSES) < 1e-6
    weights = adapter(two)
    assert {key.split(".")[0] for key in weights} == set(parts)
    for part in parts:
        assert relative_distance(of_part(weights, part), of_part(adapter(one), part)) < 5e-4
        assert relative_distance(of_part(weights, part), of_part(adapter(one, 2), part)) > 5e-3, "it goes on learning"


def test_speed_counts_the_pictures_of_all_processes(equal: Equal) -> None:
    for run in (equal(1), equal(2)):
        for row in read_rows(run.train_csv):
            pictures = float(row["samples_per_second"]) * float(row["step_seconds"])
            assert pictures == pytest.approx(GLOBAL_BATCH, rel=0.05)


@pytest.mark.parametrize("processes", NUMBERS)
def test_each_process_encodes_its_share_and_nothing_twice(equal: Equal, processes: int) -> None:
    folder = equal(processes).path.parent
    counts = [sum(map(int, (folder / "encoded" / str(rank)).read_text().split())) for rank in range(processes)]
    entries = len(list((folder / ".cache" / "latents").glob("*/*.safetensors")))
    assert sum(counts) == entries > 0
    assert max(counts) - min(counts) <= 1


def test_a_request_read_by_the_main_process_ends_them_all(warm: Warm, make_run: RunMaker, tmp_path: Path) -> None:
    run = make_run(train={"max_train_steps": 50, "snapshot_steps": 50, "checkpointing_steps": 50})
    job = start(warm, run, 2, {0: hold_at(tmp_path, 3)})
    until((tmp_path / "held").exists, "step 3")
    request = requests.submit_stop(run, by="the dashboard")
    (tmp_path / "go").touch()
    assert job.codes() == [0, 0], job.said()
    assert_left_together(run, 3, "requested by the dashboard")
    assert requests.read_answer(run, request).stopped


def test_a_signal_to_one_process_ends_them_all(warm: Warm, make_run: RunMaker, tmp_path: Path) -> None:
    run = make_run(train={"max_train_steps": 50, "snapshot_steps": 50, "checkpointing_steps": 50})
    job = start(warm, run, 3, {2: hold_at(tmp_path, 3)})
    until((tmp_path / "held").exists, "step 3")
    job.programs[2].kill(signal.SIGTERM)
    (tmp_path / "go").touch()
    assert job.codes() == [0, 0, 0], job.said()
    assert_left_together(run, 3, "requested by process 2")


def test_processes_pause_go_on_and_stop_together(warm: Warm, make_run: RunMaker) -> None:
    run = make_run(train={"max_train_steps": 100_000, "snapshot_steps": 50_000, "checkpointing_steps": 50_000})
    job = start(warm, run, 2)

    def state() -> str:
        status = read_status(run, "trainer")
        return status.state if status else ""

    until(lambda: len(steps_of(run.train_csv)) > 2, "some steps")
    requests.submit(run, "pause", by="a test")
    until(lambda: state() == "paused", "the pause")
    held = len(steps_of(run.train_csv))
    wanted = requests.submit(run, "snapshot-now", by="a test")
    until(lambda: requests.read_answer(run, wanted).done, "the snapshot")
    assert steps_in(run.snapshots) == {held}
    assert len(steps_of(run.train_csv)) == held
    requests.submit(run, "resume", by="a test")
    until(lambda: len(steps_of(run.train_csv)) > held, "training to go on")
    requests.submit_stop(run, by="a test")
    assert job.codes() == [0, 0], job.said()
    assert state() == "stopped"
    assert max(steps_in(run.checkpoints)) == len(steps_of(run.train_csv))


def assert_left_together(run: RunDir, step: int, *reasons: str) -> None:
    """All ended after the same step, for one of these reasons, with one snapshot and one checkpoint of it."""
    assert steps_of(run.train_csv) == list(range(1, step + 1))
    assert steps_in(run.snapshots) == steps_in(run.checkpoints) == {step}
    verify(run.snapshot(step))
    verify(run.checkpoint(step))
    status = read_status(run, "trainer")
    assert status
    assert (status.state, status.step) == ("stopped", step)
    assert status.message in reasons
    assert check(run) == []


@pytest.mark.parametrize(
    ("rank", "death"),
    [
        pytest.param(1, die_at_update(3), id="another process in the middle of an update"),
        pytest.param(0, die_at_rename(2, before=True), id="the main process while it publishes"),
    ],
)
def test_a_killed_process_ends_the_job_and_the_run_resumes(
    equal: Equal,
    warm: Warm,
    tmp_path: Path,
    tiny_model: Path,
    mixed_pictures: Path,
    rank: int,
    death: str,
) -> None:
    run = create_run(tiny_config(tmp_path / "runs", "run", tiny_model, mixed_pictures, settings(2)))
    preludes = (death, hold_at(tmp_path, 4))  # it never makes this update: death comes first
    job = start(warm, run, 2, {rank: "\n".join(f"exec({code!r}, {{}})" for code in preludes)})
    codes = job.codes()
    assert codes[rank] == -signal.SIGKILL
    assert codes[1 - rank] not in (0, None), "the other one cannot go on"
    for folder in (*run.snapshots.iterdir(), *run.checkpoints.iterdir()):
        verify(folder)

    train(warm, run, 2)
    uninterrupted = equal(2)
    assert check(run) == []
    assert steps_of(run.train_csv) == list(range(1, STEPS + 1))
    assert steps_of(run.validation_csv) == [0, 2, 4]
    assert apart(uninterrupted, run, "train.csv", ("loss", "grad_norm")) == 0
    assert apart(uninterrupted, run, "validation.csv", LOSSES) == 0
    expected = adapter(uninterrupted)
    assert all(torch.equal(value, expected[key]) for key, value in adapter(run).items())


@pytest.mark.parametrize(
    ("what", "processes"),
    [
        ("full", 2),
        ("scratch", 3),
        pytest.param("full", 3, marks=pytest.mark.slow),
        pytest.param("scratch", 2, marks=pytest.mark.slow),
    ],
)
def test_whole_denoisers_are_trained_together_measured_alike_and_resumed_exactly(
    warm: Warm, tmp_path: Path, tiny_model: Path, mixed_pictures: Path, what: str, processes: int
) -> None:
    runs: dict[str, RunDir] = {}
    for name, number in (("alone", 1), ("together", processes), ("killed", processes)):
        own = settings(number)
        own["train"] |= {"what": what, "learning_rate": 1e-3, "ema_decay": 0.5}
        own["lora"] = {"rank": 16, "lora_alpha": 16}  # as without these settings
        runs[name] = create_run(tiny_config(tmp_path / name, "run", tiny_model, mixed_pictures, own))
    alone, together, killed = runs.values()
    train(warm, alone, 1)
    train(warm, together, processes)
    assert apart(alone, together, "train.csv", ("loss",)) < 1e-4
    assert apart(alone, together, "validation.csv", LOSSES) < 1e-4
    first, *_, last = (float(row["held_out_loss"]) for row in read_rows(together.validation_csv))
    assert abs(first - last) > 1e-3, "it sees that the denoiser has changed"
    codes = start(warm, killed, processes, {processes - 1: die_at_update(3)}).codes()
    assert codes[-1] == -signal.SIGKILL
    assert 0 not in codes
    train(warm, killed, processes)
    assert apart(together, killed, "train.csv", ("loss", "grad_norm")) == 0
    assert apart(together, killed, "validation.csv", LOSSES) == 0
    one, other = (load_file(run.snapshot(STEPS) / WEIGHTS_FILE) for run in (together, killed))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert check(killed) == []


def test_a_run_folder_can_be_made_for_another_launcher(tmp_path: Path, tiny_model: Path, pictures: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(dump_config(tiny_config(tmp_path / "runs", "run", tiny_model, pictures, {})), encoding="utf-8")
    outcome = run_python("run.py", "train", config, "--create-only")
    run = open_run(tmp_path / "runs" / "run")
    assert outcome.stdout == f"run folder: {run.path}\n"
    assert list(run.processes.iterdir()) == []


@pytest.mark.slow
def test_run_py_starts_several_processes_and_one_death_ends_them(start_run: Starter) -> None:
    train = {"num_processes": 2, "train_batch_size": 1, "max_train_steps": 500}
    command = start_run(train={**train, "snapshot_steps": 100, "checkpointing_steps": 2})
    command.until(lambda: len(steps_in(command.run.checkpoints)) == 2, "two checkpoints")
    command.until(lambda: read_status(command.run, "evaluator"), "an evaluator")
    known = {status.pid for role in ("trainer", "evaluator") if (status := read_status(command.run, role))}
    programs = psutil.Process(command.process.pid).children()
    (second,) = [program for program in programs if program.pid not in known]
    second.kill()
    assert command.wait() == 1
    assert "the trainer ended with code -9" in command.output()
    assert command.left() == []
    for folder in command.run.checkpoints.iterdir():
        verify(folder)


@pytest.mark.slow
def test_ctrl_c_on_run_py_ends_all_processes_well_and_the_same_command_resumes(start_run: Starter) -> None:
    train = {"num_processes": 2, "train_batch_size": 1, "max_train_steps": 40, "snapshot_steps": 40}
    command = start_run(train={**train, "checkpointing_steps": 40})
    command.until(lambda: len(steps_of(command.run.train_csv)) >= 3, "three steps")
    command.send(signal.SIGINT)
    assert command.wait() == 0, command.output()
    step = steps_of(command.run.train_csv)[-1]
    assert 3 <= step < 40
    assert_left_together(command.run, step, "signal SIGTERM", "requested by process 1")
    again = start_run(train={**train, "checkpointing_steps": 40})
    assert again.wait() == 0, again.output()
    assert steps_of(again.run.train_csv) == list(range(1, 41))
    assert check(again.run) == []


@pytest.mark.slow
def test_torchrun_starts_all_processes_again_and_they_resume(make_run: RunMaker) -> None:
    train = {"max_train_steps": 60, "train_batch_size": 1, "snapshot_steps": 60, "checkpointing_steps": 2}
    run = make_run(train=train)
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1", "-m", "trainer"]
    own_store = environment(TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1")  # else addresses of the dead: pytorch issue 135712
    launcher = subprocess.Popen(
        [sys.executable, "-m", *launch, str(run.path)], stderr=subprocess.PIPE, text=True, env=own_store, cwd=ROOT
    )
    until(lambda: len(steps_in(run.checkpoints)) == 2, "two checkpoints")
    workers = psutil.Process(launcher.pid).children()
    next(worker for worker in workers if worker.environ().get("RANK") == "1").kill()
    _, said = launcher.communicate(timeout=240)
    assert launcher.returncode == 0, said
    assert "resuming after step" in said
    assert steps_of(run.train_csv) == list(range(1, 61))
    assert check(run) == []
