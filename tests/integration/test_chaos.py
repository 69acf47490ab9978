"""A run under chaos, in short: what `make chaos` does for minutes, on the tiny model, with programs that start fast."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from benchmarks.chaos import Chaos
from benchmarks.chaos_faults import FAULTS
from benchmarks.chaos_outcome import differences, expected
from benchmarks.chaos_scene import Scene
from shared.launch import quarantine
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import prune
from tasks.text_to_image.lora.lora import LORA_FILE
from tests.conftest import Warm, create_run, made_once, tiny_config
from tests.integration.conftest import copy_of, write_config

STEPS, EVERY = 40, 8
SECTIONS: dict[str, dict[str, object]] = {
    "train": {
        "max_train_steps": STEPS,
        "snapshot_steps": EVERY,
        "checkpointing_steps": 4,
        "validation_steps": 10,
        "learning_rate": 1e-2,
    },
    "lora": {"dropout": 0.25},
}
SHORT = ("kill run.py", "kill trainer", "kill evaluator", "damage while down", "damage at work", "full disk")
Stage = Callable[..., Chaos]


@pytest.fixture(scope="module")
def untouched(warm: Warm, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, pictures: Path) -> RunDir:
    """Trained without a break, with a snapshot of every step."""

    def make(folder: Path) -> None:
        sections = {**SECTIONS, "train": {**SECTIONS["train"], "snapshot_steps": 1}}
        warm.run("trainer", create_run(tiny_config(folder, "run", tiny_model, pictures, sections)).path)

    return RunDir(made_once(tmp_path_factory, "untouched-chaos", make) / "run")


@pytest.fixture
def stage(warm: Warm, untouched: RunDir, tmp_path: Path, tiny_model: Path, pictures: Path) -> Stage:
    """Chaos with these faults by this seed."""
    mine = copy_of(untouched, tmp_path)

    def begin(number: int) -> Scene:
        name = f"run-{number}"
        config, log = write_config(tmp_path, name, tiny_model, pictures, SECTIONS), tmp_path / f"{name}.log"
        run = RunDir(tmp_path / "runs" / name)
        return Scene(
            run,
            launch=lambda: warm.start("run", "train", config, "--no-dashboard", log=log),
            repair=lambda: f"moved {len(quarantine.repair(run))}",
        )

    def finish(scene: Scene) -> list[str]:
        steps = steps_in(scene.run.snapshots)
        wanted = expected(mine, tmp_path / "expected", steps, lambda run: warm.run("evaluator", run.path))
        missing = {*range(EVERY, STEPS + 1, EVERY)} - steps
        return [*differences(scene.run, wanted, scene.lost), *(f"snapshot {step} is missing" for step in missing)]

    def make(seed: int, names: tuple[str, ...]) -> Chaos:
        faults = {name: (FAULTS[name][0], 1) for name in names}
        return Chaos(seed, begin, finish, faults=faults, pause_steps=(2, 10))

    return make


def test_a_run_under_a_few_faults_ends_like_one_that_nothing_disturbed(stage: Stage) -> None:
    chaos = stage(4, SHORT)
    chaos.run(60, max_events=4)
    assert chaos.violations == []
    assert len(chaos.events) >= 4


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_under_many_faults_ends_like_one_that_nothing_disturbed(stage: Stage) -> None:
    names = tuple(
        name for name in FAULTS if not any(word in name for word in ("dashboard", "tracker", "copy", "clock"))
    )
    chaos = stage(2, names)
    chaos.run(180)
    assert chaos.violations == []
    assert len({event.fault for event in chaos.events}) >= 6


def test_what_differs_is_found(evaluated_run: RunDir, tmp_path: Path) -> None:
    """Else the others could not fail."""
    ours, theirs = copy_of(evaluated_run, tmp_path / "ours"), copy_of(evaluated_run, tmp_path / "theirs")
    assert list(differences(ours, theirs, set())) == []
    change(ours.train_csv, "\n3,", "\n3,9")
    prune(ours.metrics_csv, lambda row: row["step"] != "4")
    weights = ours.snapshot(5) / LORA_FILE
    save_file({name: value + 1 for name, value in load_file(weights).items()}, weights)
    picture = next((ours.evaluation(6) / "images").iterdir())
    Image.new("RGB", (32, 32)).save(picture)
    shutil.rmtree(ours.snapshot(7))
    found = list(differences(ours, theirs, set()))
    assert [text.partition(" differs in")[0] for text in found[:2]] == [
        "train.csv: step 3",
        "metrics.csv: step 4 is missing",
    ]
    assert "snapshots: steps [7] are in one only" in found
    assert any(text.startswith("snapshots/step-00000005/") for text in found)
    assert f"evaluations/step-00000006/images/{picture.name} differs" in found
    assert len(found) == 5


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
