"""The W&B sweep of the documents: what an agent would start is a command of Darkroom, with settings that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

import run
import tasks
from shared.config.loading import load_config
from tests.conftest import ROOT

SWEEP = yaml.safe_load((ROOT / "examples" / "sweeps" / "wandb.yaml").read_text(encoding="utf-8"))


def values(end: int) -> dict[str, Any]:
    """One of each parameter, as an agent gets it."""
    return {
        name: {"value": kind["values"][end] if "values" in kind else kind[("min", "max")[end]]}
        for name, kind in SWEEP["parameters"].items()
    }


def command(end: int) -> list[str]:
    """What the agent starts, as `wandb agent` makes it."""
    arguments = create_sweep_command_args({"args": values(end)})
    made = create_sweep_command(SWEEP["command"])
    assert set(made) >= {"${program}", "${args_no_hyphens}"}
    parts = {"${env}": [], "${interpreter}": ["python"], "${program}": [SWEEP["program"]]}
    return [word for part in made for word in parts.get(part, arguments.get(part.strip("${}"), [part]))]


@pytest.mark.parametrize("end", [0, 1])
def test_an_agent_starts_a_run_with_settings_that_exist(end: int, tmp_path: Path) -> None:
    python, program, name, *words = command(end)
    assert (python, program, name) == ("python", "run.py", "train")
    train = typer.main.get_command(run.app).commands["train"].command  # type: ignore[attr-defined]
    given = train.make_context("train", words).params
    assert given["new"]
    assert not given["dashboard"]
    config = tmp_path / "my-lora.toml"
    config.write_text('[data]\npath = "pictures"\n', encoding="utf-8")
    loaded = load_config(config, given["overrides"], tasks.settings)
    assert loaded.run.trackers == ("wandb",)
    for key, one in values(end).items():
        assert loaded.value(key) == one["value"]


def test_what_it_minimises_is_a_number_that_the_tracker_sends() -> None:
    assert SWEEP["metric"] == {"name": "metrics/composite", "goal": "minimize"}
    assert "`metrics/composite`" in (ROOT / "docs" / "trackers.md").read_text(encoding="utf-8")
