"""What many tests share: a tiny Stable Diffusion with random weights, a small data set, run folders made of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.config import Config, parse_config
from shared.rundir import RunDir, create_run

ROOT = Path(__file__).resolve().parents[1]
RESOLUTION = 32

RunMaker = Callable[..., RunDir]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole Stable Diffusion of the true architecture, random weights, 32 × 32 pictures; loads in a second."""
    folder = tmp_path_factory.mktemp("models") / "tiny-stable-diffusion"
    subprocess.run([sys.executable, ROOT / "tests" / "tiny_model.py", folder], check=True, env=environment())
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve captioned garments."""
    from pocket.garments import write_catalogue  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("pictures")
    write_catalogue(folder, 12, seed=5, size=48)
    return folder


@pytest.fixture
def make_run(tmp_path: Path, tiny_model: Path, pictures: Path) -> RunMaker:
    """Creates a run folder on the tiny model: `make_run("name", train={"max_train_steps": 3})`."""

    def make(name: str = "run", **sections: dict[str, object]) -> RunDir:
        return create_run(tiny_config(tmp_path / "runs", name, tiny_model, pictures, sections))

    return make


def tiny_config(
    output_dir: Path, name: str, model: Path, pictures: Path, sections: dict[str, dict[str, object]]
) -> Config:
    """Settings small enough for seconds on one core; `sections` override them."""
    tree: dict[str, dict[str, object]] = {
        "run": {"name": name, "output_dir": str(output_dir)},
        "model": {"path": str(model)},
        "data": {"path": str(pictures), "resolution": RESOLUTION, "num_validation": 3},
        "lora": {"rank": 2, "lora_alpha": 2},
        "train": {"max_train_steps": 6, "train_batch_size": 2, "snapshot_steps": 2, "checkpointing_steps": 2},
        "evaluation": {"num_prompts": 2, "num_seeds": 1, "num_inference_steps": 2, "fashion_clip": "pocket"},
    }
    for section, values in sections.items():
        tree.setdefault(section, {}).update(values)
    return parse_config(tree)


def environment(**extra: str) -> dict[str, str]:
    """The environment of a child process: this repository first, one thread, no hub."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        **extra,
    }


def run_module(module: str, *arguments: object, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m module …` to its end; output captured."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(**extra), cwd=ROOT, timeout=240, check=False
    )
