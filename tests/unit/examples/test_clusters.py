"""The recipes of `examples/clusters` are read by what reads them, as far as that is installed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
import yaml
from huggingface_hub.cli.hf import app as hub

from run import app
from tests.conftest import ROOT

CLUSTERS = ROOT / "examples" / "clusters"
SCRIPTS = sorted([*CLUSTERS.glob("*.sh"), *CLUSTERS.glob("*.sbatch")])
OURS = re.compile(r"run\.py (\w+)((?: [^\s|&;'`)]+)*)")


def test_every_recipe_is_read_here() -> None:
    found = {path.name for path in CLUSTERS.iterdir() if path.is_file()}
    assert found == {path.name for path in SCRIPTS} | {"skypilot.yaml", "modal_train.py", "slurm_submitit.py"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_reads_each_script(script: Path) -> None:
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script: Path) -> None:
    done = subprocess.run(
        ["shellcheck", "--severity=warning", str(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_options_of_sbatch_ask_for_a_signal_to_the_script_and_for_a_requeue() -> None:
    lines = (CLUSTERS / "slurm.sbatch").read_text().splitlines()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", "\n".join(lines), re.MULTILINE))
    assert {"requeue", "time", "output", "open-mode"} <= options.keys()
    assert options["signal"] == "B:USR1@300", "B: to the script alone, which passes it on"


def test_a_job_of_skypilot_has_the_parts_that_it_is_made_of() -> None:
    job = yaml.safe_load((CLUSTERS / "skypilot.yaml").read_text())
    assert job.keys() == {"name", "resources", "num_nodes", "workdir", "envs", "setup", "run"}
    assert job["resources"]["use_spot"] is True
    for script in (job["setup"], job["run"]):
        assert subprocess.run(["bash", "-n", "-c", script], check=False).returncode == 0


def test_a_job_of_modal_has_one_function_with_retries_and_a_volume() -> None:
    tree = ast.parse((CLUSTERS / "modal_train.py").read_text())
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    called = functions["train"].decorator_list[0]
    assert isinstance(called, ast.Call)
    assert {"image", "gpu", "timeout", "volumes", "retries"} <= {keyword.arg for keyword in called.keywords}
    assert ast.unparse(functions["main"].decorator_list[0]) == "app.local_entrypoint()"


def test_the_command_of_the_hub_is_one_that_its_program_takes(tmp_path: Path) -> None:
    program = tmp_path / "hf"
    program.write_text(f'#!/bin/bash\nprintf "%s\\0" "$@" > {tmp_path}/arguments\n')
    program.chmod(0o755)
    given = {"CONFIG": "my.toml", "NAME": "my", "KEEP": "hf://datasets/me/runs/my", "SOURCE": "https://git.example/x"}
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(["bash", str(CLUSTERS / "hf_jobs.sh")], env={**os.environ, **given, "PATH": path}, check=True)
    words = (tmp_path / "arguments").read_text().split("\0")[:-1]
    assert words[:2] == ["jobs", "run"]
    jobs = hub.commands["jobs"]
    command = jobs.get_command(typer.Context(jobs), "run")
    context = command.make_context("run", words[2:])
    assert context.params["timeout"] == "6h"
    assert list(context.params["command"][:2]) == ["bash", "-c"]
    assert subprocess.run(["bash", "-n", "-c", context.params["command"][2]], check=False).returncode == 0


@pytest.mark.parametrize("path", sorted(CLUSTERS.glob("*.*")), ids=lambda path: path.name)
def test_what_recipes_call_of_ours_is_there(path: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, words in OURS.findall(path.read_text()):
        assert name in commands, name
        known = commands[name].command.params
        options = {option for parameter in known for option in (*parameter.opts, *parameter.secondary_opts)}
        unknown = [word for word in words.split() if word.startswith("--") and word not in options]
        assert not unknown, f"{path.name}: run.py {name} {unknown}"
