"""Whether best.json says what `run.py verdict` finds."""

from __future__ import annotations

import json
import subprocess

from shared.errors import RunFolderError
from shared.launch.supervisor import child_environment, python_module
from shared.run_folder.averages import label
from shared.run_folder.heartbeat import someone_serves
from shared.run_folder.run_dir import RunDir, steps_in


def verdict_note(run: RunDir) -> list[str]:
    """What is said where best.json is not what `verdict` finds. A living evaluator may be about to write it."""
    if someone_serves(run, "evaluator") or not steps_in(run.evaluations):
        return []
    command = python_module("evaluator.replay", run.path, "--json")
    done = subprocess.run(
        command, env=child_environment(None), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    found = json.loads(done.stdout)["best"] if done.stdout else None  # without: a problem that is listed already
    if found is None:
        return []
    cure, unit = f"`python run.py verdict {run.path} --write` writes it again", run.read_record().unit
    try:
        written = run.read_best()
    except RunFolderError as error:
        return [f"{error}; {cure}"]
    if written is None:
        return [f"best.json is missing, the verdict is {unit} {label(found['step'])}; {cure}"]
    if written.step != found["step"]:
        return [f"best.json names {unit} {label(written.step)}, the verdict is {unit} {label(found['step'])}; {cure}"]
    return []
