"""Does `run.py verdict` find what is there? Run folders whose truth is known, through the command itself.

    python benchmarks/verdict_folders.py [--runs 20]

Each folder has the layout of tests/golden/folders/finished with its results rewritten: the pictures' numbers come from
`verdict_simulation.draw`, with curves, noises and seeds that no constant was chosen on. The command runs on the first
folder of each kind; the function that it prints reads the others in this process, because a start takes seconds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import tomlkit

from benchmarks.verdict_simulation import EVERY, Case, Curve, Noise, draw, line
from evaluator.replay import replay
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample
from shared.run_folder.run_dir import RunDir, step_name

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden" / "folders" / "finished"
SEED = 271_828
MEASURED = Noise(prompt=0.65, gain=0.5, wander=0.2, memory=0.85, picture=0.1)
"""As the demo's prompts differ from one another and from one snapshot to the next."""
TWICE = replace(MEASURED, wander=0.4, picture=0.2)
"""As in the most uneven of the real runs."""
HEAVY = Noise(prompt=0.5, gain=0.5, wander=0.2, memory=0.75, picture=0.3)
HEAVIEST = replace(HEAVY, wander=0.3, picture=0.55)
KINDS = {
    "as measured": ((16, MEASURED), (8, MEASURED)),
    "twice": ((16, TWICE),),
    "three times": ((16, HEAVY), (8, HEAVY)),
    "five times": ((16, HEAVIEST),),
}
CURVES: dict[str, Curve] = {
    "plateau": lambda share: np.minimum(share / 0.4, 1),
    "rising": lambda share: np.log1p(9 * share) / np.log(10),
    "overtrained": lambda share: 1 - ((share - 0.6) / 0.6) ** 2,
}
GAIN, NUM_SNAPSHOTS = 1.1, 20


def write_folder(folder: Path, evaluations: Mapping[int, Sequence[Sample]], num_steps: int) -> RunDir:
    """A run of `num_steps` planned steps with these results, and nothing that a verdict does not read."""
    folder.mkdir(parents=True)
    config = tomlkit.parse((GOLDEN / "config.toml").read_text(encoding="utf-8"))
    config["train"]["max_train_steps"] = num_steps  # type: ignore[index]
    config["evaluation"]["num_prompts"] = len({sample.prompt_id for sample in evaluations[0]})  # type: ignore[index]
    config["evaluation"]["confirm_prompts"] = 0  # type: ignore[index]
    config["data"]["num_validation"] = config["evaluation"]["num_prompts"]  # type: ignore[index]
    (folder / "config.toml").write_text(tomlkit.dumps(config), encoding="utf-8")
    shutil.copy(GOLDEN / "run.json", folder)
    for step, samples in evaluations.items():
        template = EvaluationResult.read(GOLDEN / "evaluations" / step_name(0 if step == 0 else 40) / "result.json")
        target = folder / "evaluations" / step_name(step)
        target.mkdir(parents=True)
        named = [
            Sample(prompt_id=row.prompt_id, prompt=f"dress {row.prompt_id}", seed=row.seed, metrics=row.metrics)
            for row in samples
        ]
        template.model_copy(update={"step": step, "samples": tuple(named), "anchors": {}}).write(target / "result.json")
    return RunDir(folder)


def case(name: str, num_prompts: int, noise: Noise) -> Case:
    """A kind of run."""
    curve = line if name == "line" else CURVES[name]
    return Case(name, curve, NUM_SNAPSHOTS, num_prompts, GAIN, noise)


def verdict(run: RunDir, *, by_command: bool) -> dict[str, Any]:
    """What the command prints of the best."""
    if not by_command:
        return json.loads(replay(run).to_json())["best"]
    command = [sys.executable, str(ROOT / "run.py"), "verdict", str(run.path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["best"]


def advised(kind: Case, seed: Sequence[int], share: float, folder: Path, *, by_command: bool = False) -> bool:
    """Whether a run at this share of its plan is advised to stop."""
    evaluations = draw(kind, np.random.default_rng(seed)).evaluations
    known = {step: rows for step, rows in evaluations.items() if step <= share * EVERY * kind.num_snapshots}
    run = write_folder(folder, known, EVERY * kind.num_snapshots)
    return verdict(run, by_command=by_command)["advice"]["action"] != "continue"


def lost(kind: Case, seed: Sequence[int], folder: Path, *, by_command: bool = False) -> float:
    """What is lost by shipping the chosen snapshot, as a share of the whole gain."""
    run = draw(kind, np.random.default_rng(seed))
    written = write_folder(folder, run.evaluations, EVERY * kind.num_snapshots)
    step = verdict(written, by_command=by_command)["step"]
    return float(run.truth.max() - run.truth[step // EVERY - 1]) / float(run.truth.max())


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    kinds = [(name, prompts, noise) for name, sizes in KINDS.items() for prompts, noise in sizes]
    with tempfile.TemporaryDirectory() as place:
        folders = (Path(place) / str(number) for number in range(10**6))
        print("| run | prompts | noise | share of the plan | advised to stop |\n| --- | --- | --- | --- | --- |")
        for number, (name, share) in enumerate((("line", 0.5), ("line", 0.75), ("plateau", 0.75))):
            for called, prompts, noise in kinds:
                seeds = [(SEED, number, prompts, run) for run in range(runs)]
                kind = case(name, prompts, noise)
                found = [advised(kind, seed, share, next(folders), by_command=seed[-1] == 0) for seed in seeds]
                print(f"| {name} | {prompts} | {called} | {share:.0%} | {sum(found)} of {runs} |", flush=True)
        print("\n| run | prompts | noise | lost by the choice |\n| --- | --- | --- | --- |")
        for number, name in enumerate(CURVES):
            for called, prompts, noise in kinds:
                seeds = [(SEED, 10 + number, prompts, run) for run in range(runs)]
                kind = case(name, prompts, noise)
                regrets = [lost(kind, seed, next(folders), by_command=seed[-1] == 0) for seed in seeds]
                print(f"| {name} | {prompts} | {called} | {np.mean(regrets):.1%} |", flush=True)


if __name__ == "__main__":
    main()
