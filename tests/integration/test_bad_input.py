"""What a user can get wrong: one error, one hint, the right exit code, no traceback, nothing written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from shared.config.dumping import dump_config
from shared.files.publication import publish
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir, steps_in
from tests.conftest import Warm, create_run, paper_model, run_python, tiny_config


@dataclass
class RunWriter:
    """A config that is right but for what a case changes."""

    folder: Path
    model: Path
    pictures: Path
    overrides: list[str] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.folder / "run.toml"


@pytest.fixture
def writer(tmp_path: Path) -> RunWriter:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(6):
        Image.new("RGB", (32, 32), (40 * number, 9, 9)).save(pictures / f"{number}.png")
        (pictures / f"{number}.txt").write_text("a dress")
    writer = RunWriter(tmp_path, paper_model(tmp_path / "model"), pictures)
    config = tiny_config(tmp_path / "runs", "run", writer.model, pictures, {})
    writer.config.write_text(dump_config(config), encoding="utf-8")
    return writer


def break_two_pictures(writer: RunWriter) -> None:
    (writer.pictures / "1.png").write_bytes(b"not a picture")
    (writer.pictures / "4.png").write_bytes((writer.pictures / "4.png").read_bytes()[:60])


def empty_the_folder(writer: RunWriter) -> None:
    for path in writer.pictures.iterdir():
        path.unlink()


CASES: dict[str, tuple[Callable[[RunWriter], object], int, list[str]]] = {
    "no config": (
        lambda writer: writer.config.unlink(),
        2,
        ["cannot read", "run.toml", "hint: start from one in configs/"],
    ),
    "a config that is no TOML": (lambda writer: writer.config.write_text("[run"), 2, ["is not valid TOML"]),
    "no data set": (lambda writer: writer.overrides.append("data.path=/nowhere"), 2, ["/nowhere does not exist"]),
    "an empty data set": (empty_the_folder, 2, ["holds no pictures"]),
    "a picture without caption": (
        lambda writer: (writer.pictures / "2.txt").unlink(),
        2,
        ["2.png: no caption file 2.txt"],
    ),
    "unreadable pictures": (break_two_pictures, 2, ["2 problem(s)", "1.png: not a PNG", "4.png: "]),
    "an unknown key": (
        lambda writer: writer.overrides.append("train.lerning_rate=1"),
        2,
        ["unknown key train.lerning_rate, did you mean train.learning_rate?"],
    ),
    "a mistyped value": (lambda writer: writer.overrides.append("train.seed=abc"), 2, ["train.seed is 'abc'"]),
    "two problems": (
        lambda writer: writer.overrides.extend(["lora.rank=0", "train.max_train_steps=0"]),
        2,
        ["lora.rank is 0", "train.max_train_steps is 0"],
    ),
    "a model that does not exist": (lambda writer: writer.overrides.append("model.path=/no/model"), 3, ["'/no/model'"]),
    "a model folder that is none": (
        lambda writer: writer.overrides.append(f"model.path={writer.pictures}"),
        3,
        ["is not a diffusers model folder", "model_index.json"],
    ),
    "too few pictures": (
        lambda writer: writer.overrides.append("data.num_validation=6"),
        2,
        ["leave nothing to train on"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_error_with_a_hint_and_nothing_is_written(writer: RunWriter, warm: Warm, case: str) -> None:
    spoil, code, complaints = CASES[case]
    spoil(writer)
    program = warm.start("run", "train", writer.config, *writer.overrides, "--no-dashboard")
    assert program.wait() == code, program.stderr()
    text = program.stderr()
    for complaint in complaints:
        assert complaint in text
    assert text.count("error: ") == 1
    assert text.startswith("error: ")
    assert text.count("hint: ") == 1
    assert "Traceback" not in text
    assert not (writer.folder / "runs").exists()


def test_bad_input_is_answered_the_same_by_a_process_of_its_own(writer: RunWriter) -> None:
    (writer.pictures / "2.txt").unlink()
    outcome = run_python("run.py", "train", writer.config)
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    first, *rest = outcome.stderr.splitlines()
    assert first.startswith("error: 1 problem(s) in the data set:")
    assert rest[-1].startswith("hint: ")
    assert not (writer.folder / "runs").exists()


def test_a_run_in_use_by_a_living_process_is_refused_with_its_pid(writer: RunWriter, warm: Warm) -> None:
    run = create_run(tiny_config(writer.folder / "runs", "run", writer.model, writer.pictures, {}))
    with hold_role(run, "supervisor"):
        before = sorted(path for path in run.path.rglob("*") if path.suffix != ".tmp")
        program = warm.start("run", "train", writer.config, "--no-dashboard")
        assert program.wait() == 2
        assert sorted(path for path in run.path.rglob("*") if path.suffix != ".tmp") == before
    assert f"is in use: pid {os.getpid()} on " in program.stderr()
    assert "Traceback" not in program.stderr()


def test_a_resumed_run_with_other_settings_is_refused_with_the_keys_that_differ(writer: RunWriter, warm: Warm) -> None:
    save(create_run(tiny_config(writer.folder / "runs", "run", writer.model, writer.pictures, {})), 2)
    program = warm.start("run", "train", writer.config, "train.learning_rate=0.5", "lora.rank=4")
    assert program.wait() == 2
    for key in ("train.learning_rate was 0.0001, is 0.5", "lora.rank was 2, is 4"):
        assert key in program.stderr()
    assert "--new" in program.stderr()


def refused(writer: RunWriter, warm: Warm, *arguments: object) -> str:
    """The two lines a refused `run.py train` prints."""
    program = warm.start("run", "train", writer.config, *arguments, "--no-dashboard")
    assert program.wait() == 2, program.stderr()
    assert program.stderr().count("error: ") == program.stderr().count("hint: ") == 1
    assert "Traceback" not in program.stderr()
    return program.stderr()


def save(run: RunDir, step: int, details: dict[str, object] | None = None, kind: str = "checkpoint") -> Path:
    folder = run.checkpoint(step) if kind == "checkpoint" else run.snapshot(step)
    record = {"kind": kind, "run_id": run.read_record().run_id, "step": step, "details": details or {}}
    publish(run.staging, folder, Manifest.model_validate(record), lambda stage: (stage / "weights").touch())
    return folder


def test_a_difference_that_is_not_allowed_or_never_can_be_is_refused(writer: RunWriter, warm: Warm) -> None:
    run = create_run(tiny_config(writer.folder / "runs", "run", writer.model, writer.pictures, {}))
    save(run, 2)
    before = run.config.read_bytes()
    text = refused(writer, warm, "train.learning_rate=0.5", "train.weight_decay=0", "--allow-change=train.weight_decay")
    assert "train.learning_rate was 0.0001, is 0.5" in text
    assert "--allow-change train.learning_rate" in text
    assert "weight_decay" not in text
    text = refused(writer, warm, "lora.rank=4", "--allow-change", "lora.rank")
    assert (
        "lora.rank was 2, is 4, which can never change: the adapter and the optimizer's state were made with it" in text
    )
    text = refused(writer, warm, "--allow-change", "train.learningrate")
    assert "did you mean train.learning_rate?" in text
    assert run.config.read_bytes() == before


def test_without_auto_resume_a_run_with_a_checkpoint_is_left_alone(writer: RunWriter, warm: Warm) -> None:
    run = create_run(tiny_config(writer.folder / "runs", "run", writer.model, writer.pictures, {}))
    save(run, 4)
    text = refused(writer, warm, "--no-auto-resume")
    assert "holds a checkpoint of step 4, and --no-auto-resume was given" in text
    assert "--new" in text


def test_a_checkpoint_that_cannot_be_gone_on_from_is_refused_and_nothing_is_written(
    writer: RunWriter, warm: Warm
) -> None:
    run = create_run(tiny_config(writer.folder / "runs", "run", writer.model, writer.pictures, {}))
    other = create_run(tiny_config(writer.folder / "runs", "other", writer.model, writer.pictures, {}))
    mine, foreign = save(run, 2), save(other, 4, {"settings": {"lora.rank": 16}})
    assert "has no manifest.json" in refused(writer, warm, "--from-checkpoint", run.snapshots)
    assert "is a checkpoint of another run" in refused(writer, warm, "--from-checkpoint", foreign)
    assert "lora.rank was 16, is 2" in refused(writer, warm, "--new", "--from-checkpoint", foreign)
    assert "train.max_train_steps is 2" in refused(
        writer, warm, "--new", "--from-checkpoint", mine, "train.max_train_steps=2"
    )
    save(run, 6, kind="snapshot")
    text = refused(writer, warm, "--from-checkpoint", mine)
    assert "has published snapshots of later steps (6)" in text
    assert f"--new --from-checkpoint {mine}" in text
    assert {path.name for path in (writer.folder / "runs").iterdir() if not path.name.startswith(".")} == {
        "run",
        "other",
    }
    assert steps_in(run.checkpoints) == {2}


@pytest.mark.parametrize("command", [["evaluate"], ["stop"]])
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, warm: Warm, command: list[str]) -> None:
    program = warm.start("run", *command, tmp_path)
    assert program.wait() == 2
    assert "is not a run folder" in program.stderr()
    assert list(tmp_path.iterdir()) == []


def test_addresses_that_no_proxy_can_have_are_refused_together(tmp_path: Path, warm: Warm) -> None:
    program = warm.start("run", "dashboard", tmp_path, "--trusted-host", "https://gpu.org", "--base-path", "https://x")
    assert program.wait() == 2
    assert "'https://gpu.org' is no host name" in program.stderr()
    assert "'https://x' is no path" in program.stderr()


def test_stopping_a_run_where_nobody_trains_says_so(writer: RunWriter, warm: Warm) -> None:
    run = create_run(tiny_config(writer.folder / "runs", "run", writer.model, writer.pictures, {}))
    program = warm.start("run", "stop", run.path)
    assert program.wait() == 0
    assert "no trainer is at work" in program.stdout()
    assert list(run.control.iterdir()) == []


def test_evaluate_names_a_base_model_that_is_gone_and_takes_its_new_place(writer: RunWriter, warm: Warm) -> None:
    run = create_run(tiny_config(writer.folder / "runs", "run", writer.model, writer.pictures, {}))
    there = writer.model.rename(writer.folder / "there")
    program = warm.start("run", "evaluate", run.path)
    assert program.wait() == 5
    assert f"is not at {writer.model}" in program.stderr()
    assert f"run.py evaluate {run.path} model.path=PLACE" in program.stderr()
    program = warm.start("run", "evaluate", run.path, "model.path=/nowhere")
    assert program.wait() == 5
    assert "/nowhere, where no model lies" in program.stderr()
    program = warm.start("run", "evaluate", run.path, "data.path=/nowhere")
    assert program.wait() == 2
    program = warm.start("run", "evaluate", run.path, f"model.path={there}", "train.seed=3")
    assert program.wait() == 2
    assert "train.seed" in program.stderr()
    assert run.read_config().model.path == str(writer.model)


@pytest.mark.parametrize("module", ["trainer", "evaluator"])
def test_a_program_alone_answers_a_wrong_folder_in_two_lines(tmp_path: Path, warm: Warm, module: str) -> None:
    program = warm.start(module, tmp_path)
    assert program.wait() == 2
    assert program.stderr().splitlines()[0].startswith("error: ")
    assert "Traceback" not in program.stderr()
