"""The demo's run folder, without a training. `benchmarks/demo_snapshots.py` puts snapshots into it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tasks
from pocket.lessons.garments import write_concept
from shared.config.loading import load_config
from shared.config.schema import Config
from shared.launch.create import create_run
from shared.launch.supervisor import child_environment
from shared.run_folder.run_dir import RunDir

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "configs" / "pocket_kimono_cpu.toml"


def configure(folder: Path, num_prompts: int, num_inference_steps: int, *settings: str) -> Config:
    """The demo's settings, drawing so much; nothing is drawn twice."""
    write_concept(folder / "kimono")
    return load_config(
        DEMO,
        [
            f"run.output_dir={folder}",
            f"data.path={folder / 'kimono'}",
            f"evaluation.num_prompts={num_prompts}",
            f"evaluation.num_inference_steps={num_inference_steps}",
            "evaluation.confirm_prompts=0",
            *settings,
        ],
    )


def created(folder: Path, num_prompts: int, num_inference_steps: int, *settings: str) -> tuple[RunDir, Config]:
    """A run folder of these settings, without a snapshot."""
    config = configure(folder, num_prompts, num_inference_steps, *settings)
    return create_run(config, tasks.find(config.run.task)), config


def environment(run: RunDir) -> dict[str, str]:
    """Of a program that nobody holds a pipe to."""
    return {**child_environment(run), "DARKROOM_PARENT_PIPE": "0"}
