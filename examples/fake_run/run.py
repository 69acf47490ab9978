"""An invented run: its settings, its learning curve, its snapshots."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from examples.fake_run.pictures import COLORS, SIDE, draw_kimono
from shared.config.dumping import dump_config
from shared.config.loading import parse_config
from shared.config.schema import Config
from shared.files.publication import publish
from shared.files.replacing import replace_file
from shared.run_folder.metric_descriptions import Column, MetricDescriptions
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.records.run_record import DatasetRecord, RunRecord
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import Value
from shared.run_folder.times import utc_now

SEEDS = (1234, 1235)
PROMPTS = {
    f"kimono/{color}-{number}": f"a {color} tartan kimono on a {ground} background"
    for color in COLORS
    for number, ground in enumerate(("white", "pale grey"))
}
BASE_LOSSES, BASE_GUARD = (0.52, 0.34, 0.21), 0.19
"""What the base model scores in the first losses, then again; and in everything else that is compared."""


@dataclass
class FakeRun:
    """One invented run and where it stands."""

    run: RunDir
    config: Config
    record: RunRecord
    rng: random.Random
    snapshot_steps: int
    descriptions: MetricDescriptions
    talent: float = 1.0
    """0: nothing is learnt."""

    @property
    def steps(self) -> int:
        """Optimizer updates in all."""
        return self.config.train.max_train_steps

    def skill(self, step: int) -> float:
        """How good the adapter is at a step, 0 … 1: rises, peaks at two thirds, then falls as it overfits."""
        t = step / self.steps
        return self.talent * (1 - math.exp(-5 * t) - 0.35 * max(0.0, t - 0.66))

    def loss(self, step: int) -> float:
        """A falling curve under heavy noise, as diffusion losses are."""
        noise = self.rng.lognormvariate(0, 0.35)
        return (0.06 + 0.12 * math.exp(-6 * step / self.steps)) * noise

    def training_row(self, step: int, when: datetime, step_seconds: float) -> dict[str, Value]:
        """One line of train.csv; every 97th step has no loss, as after an overflow in half precision."""
        train = self.config.train
        return {
            "step": step,
            "epoch": round(step * train.train_batch_size / 48, 4),
            "loss": math.nan if step % 97 == 0 else round(self.loss(step), 6),
            "learning_rate": train.learning_rate * 0.5 * (1 + math.cos(math.pi * step / self.steps)),
            "grad_norm": round(self.rng.lognormvariate(-1, 0.3), 5),
            "samples_per_second": round(train.train_batch_size / step_seconds, 3),
            "step_seconds": round(step_seconds, 4),
            "process_rss_mib": round(1450 + 60 * (1 - math.exp(-step / 50)) + self.rng.random() * 4, 1),
            "timestamp": when.isoformat(timespec="milliseconds"),
        }

    def publish_snapshot(self, step: int) -> None:
        """A published folder with a file that is no adapter."""

        def write(stage: Path) -> None:
            (stage / "pytorch_lora_weights.safetensors").write_bytes(self.rng.randbytes(4096))

        details = {"epoch": round(step / 12, 3), "loss": round(self.loss(step), 5), "learning_rate": 1e-4}
        manifest = Manifest(kind="snapshot", run_id=self.record.run_id, step=step, details=details)
        publish(self.run.staging, self.run.snapshot(step), manifest, write)

    def validation_row(self, step: int) -> dict[str, Value]:
        """One line of validation.csv: the held-out loss turns at two thirds, that of the training probe does not."""
        probe = 0.05 + 0.1 * math.exp(-6 * step / self.steps)
        gap = 0.004 + 0.04 * max(0.0, step / self.steps - 0.6)
        losses = {"held_out_loss": probe + gap, "train_probe_loss": probe, "gap": gap}
        strata = {f"held_out_t{index}": (probe + gap) * (index + 1) / 4.5 for index in range(8)}
        rounded = {name: round(value, 6) for name, value in (losses | strata).items()}
        return {"step": step, **rounded, "num_pictures": 16, "seconds": 0.5, "timestamp": utc_now()}

    def base_values(self) -> Iterator[tuple[Column, float]]:
        """Each compared column with what the base model scores in it."""
        losses = itertools.cycle(BASE_LOSSES)
        for column in self.descriptions.compared:
            yield column, next(losses) if column.role == "loss" else BASE_GUARD

    def sign_names(self) -> list[str]:
        """Of overfitting, as the metrics describe them."""
        return [column.sign.name for column in self.descriptions.columns if column.sign]


def create(path: Path, steps: int, snapshot_steps: int, descriptions: MetricDescriptions = OLDER_METRICS) -> FakeRun:
    """A new run folder, or the one that is there, to be continued."""
    run = RunDir(path.resolve())
    if run.record.is_file():
        known = run.read_metric_descriptions()
        return FakeRun(run, run.read_config(), run.read_record(), random.Random(1), snapshot_steps, known)
    config = parse_config(
        {
            "run": {"name": run.path.name, "output_dir": str(run.path.parent)},
            "data": {"path": str(run.path.parent / "invented"), "resolution": SIDE},
            "train": {"max_train_steps": steps, "snapshot_steps": snapshot_steps},
            "evaluation": {"num_prompts": len(PROMPTS), "num_seeds": len(SEEDS), "averages": 0, "strengths": []},
        }
    )
    record = RunRecord(
        run_id=f"{random.SystemRandom().getrandbits(48):012x}",
        name=run.path.name,
        seed=0,
        versions={},
        hardware={},
        dataset=DatasetRecord(path="invented", num_images=48, fingerprint="", held_out=tuple(PROMPTS)),
        base_model={"path": "invented"},
    )
    for folder in (run.snapshots, run.evaluations, run.control, run.processes, run.references, run.staging, run.logs):
        folder.mkdir(parents=True, exist_ok=True)
    for prompt_id in PROMPTS:
        reference = run.references / f"{prompt_id}.png"
        reference.parent.mkdir(exist_ok=True)
        draw_kimono(prompt_id, SEEDS[0]).save(reference)
    replace_file(run.config, dump_config(config).encode())
    record.write(run.record)
    descriptions.write(run.metric_descriptions)
    return FakeRun(run, config, record, random.Random(1), snapshot_steps, descriptions)
