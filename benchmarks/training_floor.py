"""How far is a training step from the least it could take? `python -m benchmarks.training_floor [--quick] [--eager]`

The real loop trains the embedded model in this process, with its tables, its state and its requests, on a CPU with
all cores. After every few of its steps as many steps of a bare loop follow: forward, mean squared error, backward,
clipping, AdamW, on the same network with tensors that lie ready. Each pair is the time of the bare steps over that of
the loop's: the share of the floor that the loop reaches. First as torch runs the network by itself, then compiled.

At last the loop publishes a snapshot after every few steps. What blocks it is timed around the call that saves:
copying the weights, checking them, handing them to the thread that writes. The share is of the wall time of so many
steps as lie between two snapshots by default.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from accelerate import Accelerator
from torch import Tensor, nn

import tasks
from benchmarks import report
from benchmarks.row import Row, middle, ratio, tell
from pocket.lessons.garments import write_concept
from shared.config.loading import load_config
from shared.launch.create import create_run
from shared.run_folder.heartbeat import hold_role
from tasks.text_to_image.training.diffusion_training import DiffusionTraining
from trainer.learner import Learner, Update
from trainer.loop import Trainer
from trainer.run_writer import RunWriter, open_run_writer
from trainer.stopping import StopSignal, TimeLimit

DEMO = Path(__file__).resolve().parents[1] / "configs" / "pocket_kimono_cpu.toml"
BATCH, STEPS_PER_BLOCK, SETTLED = 8, 3, 4
DEFAULT_INTERVAL = 100
"""`train.snapshot_steps`."""
TITLE = "How far is a training step from the least it could take?"


class Bare:
    """Forward, backward, step, on tensors that lie ready."""

    def __init__(self, training: DiffusionTraining) -> None:
        batch, objective = training.batches.at(range(BATCH)), training.model.objective
        latents_BCHW = training.model.scale_latents(batch.latents)
        noise_BCHW = torch.randn(latents_BCHW.shape, generator=torch.Generator().manual_seed(0))
        self.timesteps_B = torch.randint(0, 1000, (BATCH,), generator=torch.Generator().manual_seed(0))
        self.noisy_BCHW, self.noise_BCHW = objective.add_noise(latents_BCHW, noise_BCHW, self.timesteps_B), noise_BCHW
        assert not isinstance(batch.text, list)
        self.text_BLD: Tensor = batch.text["encoder_hidden_states"]
        self.network: nn.Module = training.model.denoiser
        self.parameters = [value for value in self.network.parameters() if value.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-6)

    def step(self) -> None:
        """One update."""
        predicted_BCHW = self.network(self.noisy_BCHW, self.timesteps_B, self.text_BLD, return_dict=False)[0]
        nn.functional.mse_loss(predicted_BCHW, self.noise_BCHW).backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


@dataclass
class Times:
    """Seconds of the loop's steps, of the bare steps after every few of them, and of what saves at each step's end."""

    ours: list[float] = field(default_factory=list[float])
    bare: list[float] = field(default_factory=list[float])
    saves: list[float] = field(default_factory=list[float])
    """Of each step; at most steps nothing is due."""

    @property
    def shares(self) -> list[float]:
        """The share of the floor that the loop reaches, block by block, without the first ones."""
        starts = range(STEPS_PER_BLOCK * SETTLED, len(self.bare), STEPS_PER_BLOCK)
        blocks = [slice(start, start + STEPS_PER_BLOCK) for start in starts]
        return [sum(self.bare[block]) / sum(self.ours[block]) for block in blocks]


class Watched(Trainer):
    """The real loop; between two of its steps others may be made."""

    def watch(self, bare: Bare | None) -> Times:
        """Begin; the times fill as it trains."""
        self._bare, self._times, self._resumed = bare, Times(), time.perf_counter()
        return self._times

    def _save(self, update: Update, writer: RunWriter, *, last: bool) -> None:
        """The end of a step."""
        begun = time.perf_counter()
        super()._save(update, writer, last=last)
        ended = time.perf_counter()
        self._times.saves.append(ended - begun)
        self._times.ours.append(ended - self._resumed)
        if self._bare and len(self._times.ours) % STEPS_PER_BLOCK == 0:
            for _ in range(STEPS_PER_BLOCK):
                begun = time.perf_counter()
                self._bare.step()
                self._times.bare.append(time.perf_counter() - begun)
        self._resumed = time.perf_counter()


def train(num_steps: int, bare_of: Callable[[DiffusionTraining], Bare | None], *settings: str) -> Times:
    """Let the real loop train. bare_of: makes the bare loop of what is trained."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as held:
        folder = Path(name)
        write_concept(folder / "kimono")
        values = {
            "run.output_dir": folder, "data.path": folder / "kimono", "train.train_batch_size": BATCH,
            "lora.target_modules": json.dumps(["to_k", "to_q", "to_v", "to_out.0"]), "train.lr_scheduler": "constant",
            "train.validation_steps": "false", "train.max_train_steps": num_steps,
            "train.snapshot_steps": 10**6, "train.checkpointing_steps": 10**6,
        }  # fmt: skip
        config = load_config(DEMO, [*(f"{key}={value}" for key, value in values.items()), *settings])
        run = create_run(config, tasks.find(config.run.task))
        accelerator = Accelerator(cpu=True, mixed_precision="no")
        status = held.enter_context(hold_role(run, "trainer"))
        prepare: Any = tasks.training(config.run.task).prepare
        training = prepare(run, config, accelerator, lambda done, total: None, begins=True)
        bare, learner = bare_of(training), Learner(config, accelerator, training)
        writer = open_run_writer(run, config, learner, status, TimeLimit(run, None))
        trainer = Watched(run, config, learner, StopSignal(run, answers=True), writer)
        times = trainer.watch(bare)
        trainer.train()
        writer.close("done")
        return times


def floor_row(question: str, beside: str, times: Times) -> Row:
    """Of a training beside its bare loop."""
    return Row(question, beside, ratio(times.shares, ".3f"), "≥ 0.97")


def publishing_rows(num_snapshots: int) -> list[Row]:
    """What publishing blocks, and its share at the default interval between two snapshots."""
    every = 3
    times = train(every * (num_snapshots + SETTLED), lambda training: None, f"train.snapshot_steps={every}")
    blocked = times.saves[every - 1 :: every][SETTLED:-1]  # the last one also saves a checkpoint
    quiet = statistics.median(times.ours[number] for number in range(SETTLED, len(times.ours), every))
    shares = [seconds / (DEFAULT_INTERVAL * quiet) for seconds in blocked]
    return [
        Row("a published snapshot blocks the loop", "–", middle([1000 * one for one in blocked], unit=" ms"), "≤ 5 ms"),
        Row(f"the same, of the wall time of {DEFAULT_INTERVAL} steps", "–", middle(shares, ".3%"), "≤ 1 %"),
    ]


def main() -> int:
    """Measure, print, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer steps, nothing compiled; no report")
    parser.add_argument("--eager", action="store_true", help="leave out the compiled network")
    options = parser.parse_args()
    torch.set_float32_matmul_precision("high")  # as the trainer does
    begun, load = time.monotonic(), os.getloadavg()[0]
    num_blocks = SETTLED + (4 if options.quick else 15)
    print(f"{torch.get_num_threads()} threads")
    eager = train(num_blocks * STEPS_PER_BLOCK, Bare)
    rows = [floor_row("a training step, of the floor", "a bare loop of forward, backward, step", eager)]
    facts = [_facts("as torch runs it", eager)]
    print(facts[-1], flush=True)
    if not (options.eager or options.quick):
        fast = train(num_blocks * STEPS_PER_BLOCK, Bare, "train.torch_compile=true")
        rows.append(floor_row("the same, compiled", "the bare loop, compiled", fast))
        medians = [statistics.median(times.ours[STEPS_PER_BLOCK * SETTLED :]) for times in (eager, fast)]
        facts += [_facts("compiled", fast), f"a compiled step takes {medians[1] / medians[0]:.2f} of one that is not"]
        print("\n".join(facts[-2:]), flush=True)
    rows += publishing_rows(4 if options.quick else 20)
    facts.append(f"{time.monotonic() - begun:.0f} s in all, load at the end {os.getloadavg()[0]:.1f}")
    print(facts[-1])
    tell(rows)
    if not options.quick:
        method = (__doc__ or "").partition("\n\n")[2].strip()
        print(report.write("training_floor", TITLE, method, rows, facts, load))
    return 0


def _facts(way: str, times: Times) -> str:
    ours, bare = times.ours[STEPS_PER_BLOCK * SETTLED :], times.bare[STEPS_PER_BLOCK * SETTLED :]
    return f"{way}: {middle(ours, '.4f', ' s')} a step of the loop, {middle(bare, '.4f', ' s')} a bare one"


if __name__ == "__main__":
    sys.exit(main())
