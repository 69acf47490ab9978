"""How long does each program take to import, and the evaluator to its first pictures? `python benchmarks/imports.py`

A program's imports are timed in a fresh process beside a process that imports only the libraries that our modules name,
in the same order and with the same names: what is above 1 is our own. `run.py --help` is a whole process. The first
pictures are those of the base model, from the start of `python -m evaluator` to its end, beside a script that loads the
same model with diffusers, draws as many pictures and saves them: what is above 1 is loading encoders, scoring and
publishing. Pairs alternate.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.demo_run import created, environment
from benchmarks.row import Row, middle, ratio, tell
from shared.config.access import Admission
from shared.run_folder.run_dir import RunDir

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = {
    "evaluator": "import evaluator.__main__, tasks; tasks.evaluation('text_to_image')",
    "dashboard": "import dashboard.__main__, dashboard.server.app, dashboard.panels.first_screen",
    "trainer": "import trainer.__main__, tasks; tasks.training('text_to_image')",
}
TIMED = "import time; _begun = time.perf_counter()\n{}\nprint(time.perf_counter() - _begun)"
RECORD = """
import builtins, json, sys
ours = {path.name for path in __import__("pathlib").Path(".").iterdir()} | {"run"}
found, ordinary = [], builtins.__import__

def record(name, globals=None, locals=None, fromlist=(), level=0):
    by = ((globals or {}).get("__name__") or "").partition(".")[0]
    top = name.partition(".")[0]
    if level == 0 and by in ours and top not in ours and top not in sys.stdlib_module_names:
        found.append([name, list(fromlist or ())])
    return ordinary(name, globals, locals, fromlist, level)

builtins.__import__ = record
__name__ = "run"
"""
LIBRARIES = """
for name, names in {}:
    module = __import__(name, fromlist=names)
    [getattr(module, one) for one in names]
"""
FIRST_PICTURES = """
import sys, torch
from diffusers import StableDiffusionPipeline
torch.set_num_threads(int(sys.argv[2]))
pipeline = StableDiffusionPipeline.from_pretrained("pocket/stable-diffusion", torch_dtype=torch.float32)
pipeline.set_progress_bar_config(disable=True)
generators = [torch.Generator().manual_seed(number) for number in range({number})]
prompts = ["a photo of a kimono"] * {number}
drawn = pipeline(prompts, generator=generators, num_inference_steps={steps}, guidance_scale=3.0, height=128, width=128)
for number, picture in enumerate(drawn.images):
    picture.save(f"{{sys.argv[1]}}/{{number}}.png")
"""
NUM_PICTURES, NUM_STEPS = 8, 20


def said(code: str) -> str:
    """The last line that a fresh process prints; the dashboard's lets everybody in, and serves nothing."""
    command, admitted = [sys.executable, "-c", code], {**os.environ, **Admission().environment()}
    done = subprocess.run(command, cwd=ROOT, env=admitted, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def libraries_of(program: str) -> str:
    """Code that imports what our modules of this program import of others, in the same order."""
    imported = json.loads(said(f"{RECORD}{program}\nprint(json.dumps(found))"))
    wanted = {(name, tuple(names)): None for name, names in imported}
    return LIBRARIES.format([*wanted])


def import_row(program: str, pairs: int) -> Row:
    """Of one program, beside its libraries."""
    ours, theirs = PROGRAMS[program], libraries_of(PROGRAMS[program])
    taken = [(float(said(TIMED.format(ours))), float(said(TIMED.format(theirs)))) for _ in range(pairs)]
    print(f"{program}: {middle([own for own, _ in taken], unit=' s')}", flush=True)
    question = f"import of the {program}"
    return Row(question, "its libraries' own imports", ratio([own / other for own, other in taken]), "≤ 1.2 ×")


def wall(command: list[str], run: RunDir | None = None) -> float:
    """Seconds of a whole process."""
    begun = time.perf_counter()
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True, env=environment(run) if run else None)
    return time.perf_counter() - begun


def first_pictures(pairs: int) -> Row:
    """The evaluator's, beside a script's."""
    script = FIRST_PICTURES.format(number=NUM_PICTURES, steps=NUM_STEPS)
    ratios: list[float] = []
    threads = str(max(1, (os.cpu_count() or 1) // 2))  # as many as the evaluator takes
    for _ in range(pairs):
        with tempfile.TemporaryDirectory() as folder:
            run, _ = created(Path(folder), NUM_PICTURES, NUM_STEPS)
            own = wall([sys.executable, "-m", "evaluator", str(run.path)], run)
            assert run.read_result(0)
            ratios.append(own / wall([sys.executable, "-c", script, folder, threads]))
    return Row("evaluator's start to its first published pictures", "a diffusers script", ratio(ratios), "≤ 1.2 ×")


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one pair of each")
    pairs = 1 if parser.parse_args().quick else 5
    rows = [import_row(program, pairs) for program in PROGRAMS]
    helps = [wall([sys.executable, "run.py", "--help"]) for _ in range(pairs)]
    rows.append(Row("`run.py --help`", "–", middle(helps, unit=" s"), "≤ 0.5 s"))
    tell([*rows, first_pictures(pairs)])


if __name__ == "__main__":
    main()
