"""Do trainer and evaluator on one machine hold the base weights once or twice? `python benchmarks/shared_weights.py`

On a CPU both map the base model's files, so that the kernel holds one copy for all; only where the precision differs
from the file's, each process has converted copies of its own. The embedded model is saved in fp32 for this, and once
more in fp16, which both convert. While the trainer trains and the evaluator is warm, the kernel's own account is read
(`smaps`): pages of the model's files in each process (RSS), and each process's share of them (PSS). Linux only.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from diffusers import StableDiffusionPipeline

from benchmarks.demo_run import ROOT, created, environment
from benchmarks.row import Row, tell
from benchmarks.snapshot_to_row import until
from shared.files.publication import fsync
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows

POCKET = ROOT / "pocket" / "stable-diffusion"


@dataclass
class Memory:
    """Of a process, KiB. mapped: pages of the model's files; share: what the kernel counts of them as its own."""

    mapped: int = 0
    share: int = 0
    resident: int = 0
    share_of_all: int = 0


def memory_of(pid: int, model: Path) -> Memory:
    """From the kernel."""
    found, is_model = Memory(), False
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            is_model = str(model) in line
        elif name == "Rss":
            found.resident += int(value.split()[0])
            found.mapped += int(value.split()[0]) if is_model else 0
        elif name == "Pss":
            found.share_of_all += int(value.split()[0])
            found.share += int(value.split()[0]) if is_model else 0
    return found


def start(run: RunDir, *command: str) -> subprocess.Popen[bytes]:
    """A program of the run."""
    line = [sys.executable, "-m", command[0], str(run.path), *command[1:]]
    return subprocess.Popen(line, env=environment(run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measure(model: Path) -> tuple[Memory, Memory]:
    """Of the trainer and of the evaluator, both at work."""
    with tempfile.TemporaryDirectory() as folder:
        run, _ = created(
            Path(folder), 2, 2, f"model.path={model}", "train.max_train_steps=100000", "train.validation_steps=false"
        )
        evaluator = start(run, "evaluator", "--follow")
        trainer = start(run, "trainer")
        try:
            until(lambda: 0 in steps_in(run.evaluations) and len(read_rows(run.train_csv)) > 3)
            return memory_of(trainer.pid, model), memory_of(evaluator.pid, model)
        finally:
            for program in (trainer, evaluator):
                program.kill()
                program.wait()


def saved(folder: Path, dtype: torch.dtype) -> Path:
    """The embedded model in this precision, on the disk: pages that wait to be written count otherwise."""
    StableDiffusionPipeline.from_pretrained(POCKET, dtype=dtype).save_pretrained(folder)
    for file in folder.rglob("*.safetensors"):
        fsync(file)
    return folder


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only the weights that are mapped")
    quick = parser.parse_args().quick
    begun, rows = time.monotonic(), list[Row]()
    if not Path("/proc/self/smaps").exists():
        tell([Row("base weights of trainer and evaluator", "twice one", "not measured: this system does not tell")])
        return
    for dtype in (torch.float32,) if quick else (torch.float32, torch.float16):
        with tempfile.TemporaryDirectory() as folder:
            trainer, evaluator = measure(saved(Path(folder), dtype))
        name = str(dtype).removeprefix("torch.")
        print(f"{name}, KiB: trainer {trainer}, evaluator {evaluator}")
        mapped, share = trainer.mapped + evaluator.mapped, trainer.share + evaluator.share
        found = f"{share / mapped:.2f}, once" if mapped else "not mapped: each has its own"
        kept = "used as saved" if dtype == torch.float32 else "saved in fp16, used in fp32"
        rows.append(Row(f"base weights of trainer and evaluator on a CPU, {kept}", "twice one", found, "0.5 ×"))
        whole = (trainer.share_of_all + evaluator.share_of_all) / (trainer.resident + evaluator.resident)
        rows.append(Row(f"all memory of both, {kept}", "the sum of each alone", f"{whole:.2f}, once"))
    print(f"{time.monotonic() - begun:.0f} s in all, {os.cpu_count()} cores")
    tell(rows)


if __name__ == "__main__":
    main()
