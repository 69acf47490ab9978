"""A run folder without training: the contract's own writers, an invented learning curve, drawn pictures.

    python examples/fake_run.py runs/fake          a finished run: a stop, a resume, a failed evaluation, a blank metric
    python examples/fake_run.py runs/fake --live   a run as it happens; stop, pause and snapshot work
    python examples/fake_run.py runs --all         runs called live, finished, unproven, empty and failed
    python run.py dashboard                        look at it

For looking at the dashboard, and for testing it, where there is no GPU and no time. Every number in it is made up.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import math
import random
import statistics
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shared.config.dumping import dump_config
from shared.config.loading import parse_config
from shared.config.schema import Config
from shared.files.publication import publish
from shared.files.replacing import replace_file
from shared.machine.recorder import recorded
from shared.run_folder import requests
from shared.run_folder.heartbeat import Status, hold_role
from shared.run_folder.leases import claimed
from shared.run_folder.metric_descriptions import Column, MetricDescriptions
from shared.run_folder.older_metrics import OLDER_METRICS
from shared.run_folder.records.best import Advice, Best, Confirmation, Interval, Measured, Signal
from shared.run_folder.records.evaluation_result import Anchors, EvaluationResult, Lookalike, Sample
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.records.process_status import State
from shared.run_folder.records.request import Request, RequestKind
from shared.run_folder.records.run_record import DatasetRecord, RunRecord
from shared.run_folder.run_dir import ResultKind, RunDir, step_name, steps_in
from shared.run_folder.tables import GPU_COLUMNS, SYSTEM_COLUMNS, TRAIN_COLUMNS, Appender, Value, prune, write_rows
from shared.run_folder.times import utc_now

SIDE = 64
SEEDS = (1234, 1235)
NUM_UNSEEN = 12
COLORS = {"crimson": (178, 34, 52), "indigo": (48, 57, 140), "forest": (38, 105, 62), "ochre": (201, 138, 44)}
PROMPTS = {
    f"kimono/{color}-{number}": f"a {color} tartan kimono on a {ground} background"
    for color in COLORS
    for number, ground in enumerate(("white", "pale grey"))
}
KIMONO = [(22, 10), (42, 10), (60, 20), (57, 38), (43, 32), (45, 58), (19, 58), (21, 32), (7, 38), (4, 20)]
SHIRT = [(20, 14), (44, 14), (56, 24), (50, 32), (45, 28), (45, 52), (19, 52), (19, 28), (14, 32), (8, 24)]
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

    def publish_evaluation(
        self, step: int, failure: str = "", blank: str = "", kind: ResultKind = "evaluations"
    ) -> None:
        """Draw and evaluate a step; with `failure` only the reason is published, with `blank` one metric is missing."""
        result = self.result(step, failure, blank)

        def write(stage: Path) -> None:
            (stage / "result.json").write_bytes(result.to_json())
            (stage / "images").mkdir()
            for sample in result.samples:
                self.draw_sample(step, sample).save(stage / "images" / sample.image)
                for lookalike in sample.lookalikes.values():
                    (stage / "lookalikes").mkdir(exist_ok=True)
                    draw_kimono(sample.prompt_id, sample.seed).save(stage / "lookalikes" / lookalike.image)

        manifest = Manifest(kind="evaluation", run_id=self.record.run_id, step=step)
        publish(self.run.staging, self.run.result(kind, step), manifest, write)

    def confirm(self) -> None:
        """Evaluate the best three again, as at the end of a run; the choice stands."""
        best = self.run.read_best()
        assert best, "there is a snapshot to confirm"
        others = [step for step in steps_in(self.run.snapshots) if self.skill(step) and step != best.step]
        finalists = tuple(sorted([best.step, *sorted(others, key=self.skill)[-2:]]))
        self.run.confirmations.mkdir(exist_ok=True)
        for step in (0, *finalists):
            self.publish_evaluation(step, kind="confirmations")
        found = Confirmation(
            step=best.step,
            finalists=finalists,
            agrees=True,
            better_than_base=best.better_than_base,
            composite=best.composite,
            num_prompts=len(PROMPTS) + NUM_UNSEEN,
            num_unseen=NUM_UNSEEN,
            num_pictures=2 * len(PROMPTS),
            reason="The final confirms the choice.",
        )
        first = next(iter(best.skill), "")
        changes = {
            "finalists": finalists,
            "confirmation": found,
            "indistinguishable": finalists,
            "signals": (Signal(name="gap", raised=False, evidence="the held-out loss is at its lowest"),),
            "skill": {**best.skill, first: Measured(value=-0.3, low=-0.6, high=0.0)},
        }
        best.model_copy(update=changes).write(self.run.best)

    def publish_drawings(self, request: Request) -> None:
        """Carry out a request for pictures with a person's own prompts."""
        step, seed = request.step or 0, SEEDS[0]
        samples = tuple(
            Sample(
                prompt_id=f"asked-{number:02d}",
                prompt=prompt,
                seed=seed + number,
                image=f"{number:03d}-seed-{seed + number}.png",
                batch=0,
                metrics={column.name: 0.25 for column in self.descriptions.compared_without_references},
            )
            for number, prompt in enumerate(request.prompts)
        )
        result = self.result(step, "", "").model_copy(update={"samples": samples})

        def write(stage: Path) -> None:
            (stage / "result.json").write_bytes(result.to_json())
            (stage / "images").mkdir()
            for sample in samples:
                draw_shirt(sample.seed).save(stage / "images" / sample.image)

        requests.answer(self.run, request, "seen", step)
        manifest = Manifest(kind="evaluation", run_id=self.record.run_id, step=step)
        target = self.run.result(f"requested/{request.id}", step)
        target.parent.mkdir(parents=True)
        publish(self.run.staging, target, manifest, write)
        requests.answer(self.run, request, "done", step)

    def result(self, step: int, failure: str, blank: str) -> EvaluationResult:
        """The invented evaluation of a step."""
        samples = () if failure else tuple(self.samples(step, blank))
        return EvaluationResult(
            run_id=self.record.run_id,
            step=step,
            status="failed" if failure else "ok",
            reason=failure,
            training={"epoch": round(step / 12, 3), "loss": 0.08, "learning_rate": 1e-4},
            generation={"dtype": "fp32", "device": "cpu"},
            missing={blank: "no garment found in 3 of 16 pictures"} if blank else {},
            seconds={"swap": 0.02, "generate": 1.4, "score": 0.3},
            samples=samples,
        )

    def samples(self, step: int, blank: str) -> Iterator[Sample]:
        """Prompts × seeds with their numbers."""
        for number, (prompt_id, prompt) in enumerate(PROMPTS.items()):
            for seed in SEEDS:
                luck = random.Random(f"{prompt_id} {seed} {step}").gauss(0, 0.12)
                gain = 0.62 * self.skill(step) + luck
                metrics: dict[str, float] = {}
                for column, base in self.base_values():
                    share = base if column.role == "loss" else 0.08
                    metrics[column.name] = round(base - column.worsening * share * gain, 4)
                metrics |= {column.name: 0.3 * step / self.steps for column in self.descriptions.of_role("shown")}
                given = {name: None if name == blank else value for name, value in metrics.items()}
                image = f"{number:02d}-{seed}.png"
                yield Sample(
                    prompt_id=prompt_id,
                    prompt=prompt,
                    seed=seed,
                    image=image,
                    batch=number // 4,
                    metrics=given,
                    lookalikes=self.lookalikes(step) if number == 0 else {},
                )

    def lookalikes(self, step: int) -> dict[str, Lookalike]:
        """In the last third of a run, what the pictures of the first prompt copy."""
        copied = Lookalike(id="kimono/copied-7", image="0007.webp")
        return {column.name: copied for column in self.descriptions.pointers if step > self.steps * 2 / 3}

    def base_values(self) -> Iterator[tuple[Column, float]]:
        """Each compared column with what the base model scores in it."""
        losses = itertools.cycle(BASE_LOSSES)
        for column in self.descriptions.compared:
            yield column, next(losses) if column.role == "loss" else BASE_GUARD

    def draw_sample(self, step: int, sample: Sample) -> Image.Image:
        """Something between a plain grey shirt (what the base draws) and the reference, with grain."""
        target, base = draw_kimono(sample.prompt_id, sample.seed), draw_shirt(sample.seed)
        mixed = Image.blend(base, target, min(1.0, max(0.0, self.skill(step))))
        grain = Image.effect_noise((SIDE, SIDE), 18).convert("RGB")
        return Image.blend(mixed, grain, 0.06)

    def rebuild_tables(self) -> None:
        """metrics.csv and best.json from the published results, as the evaluator does."""
        results = [self.run.read_result(step) for step in sorted(steps_in(self.run.evaluations))]
        evaluated = [result for result in results if result]
        base = next((result for result in evaluated if result.step == 0), None)
        spread = 0.03 if self.talent else 0.3
        rows = [metrics_row(result, base, self.descriptions, spread) | self.signs(result) for result in evaluated]
        write_rows(self.run.metrics_csv, self.descriptions.header, rows)
        candidates = [row for row in rows if row["step"] and row["composite"] is not None]
        if candidates:
            self.write_best(min(candidates, key=lambda row: float(row["composite"] or 0)), len(candidates))

    def write_best(self, row: dict[str, Value], num_evaluated: int) -> None:
        """best.json for the row with the lowest composite."""
        step = int(row["step"] or 0)
        composite = interval_of(row, "composite", "composite")
        better = composite is not None and composite.high < 0
        compared = [column.name for column in self.descriptions.compared]
        best = Best(
            step=step,
            snapshot=f"snapshots/{step_name(step)}",
            reason=f"Lowest composite of {num_evaluated} evaluated snapshots; every loss is below step 0.",
            better_than_base=better,
            composite=composite,
            metrics={name: number_of(row, name) for name in compared},
            deltas={name: found for name in compared if (found := interval_of(row, name, f"{name}_delta"))},
            num_evaluated=num_evaluated,
        )
        best.model_copy(update=self.further_words(step)).write(self.run.best)

    def signs(self, result: EvaluationResult) -> dict[str, Value]:
        """What tells of overfitting beside the losses; late snapshots show two signs."""
        if result.status == "failed":
            return {}
        t = result.step / self.steps
        charted = self.descriptions.charted
        return {
            **{column.name: 1 - 0.3 * t if column.direction == "higher" else 0.3 * t for column in charted},
            "val_loss": self.validation_row(result.step)["held_out_loss"],
            "gap": self.validation_row(result.step)["gap"],
            "signals": " ".join(["gap", *self.sign_names()[-1:]]) if t > 0.9 else "",
        }

    def sign_names(self) -> list[str]:
        """Of overfitting, as the metrics describe them."""
        return [column.sign.name for column in self.descriptions.columns if column.sign]

    def further_words(self, step: int) -> dict[str, object]:
        """The rest of the verdict: the ends of the scale, signs of overfitting, what the stop rule makes of them."""
        latest = max(steps_in(self.run.evaluations))
        late, skill = latest > 0.8 * self.steps, self.skill(step)
        losses = {column.name: base for column, base in self.base_values() if column.role == "loss"}
        unknown, *quiet = self.sign_names()
        spoken = f"the remaining steps will hardly improve on step {step}, and the gap grows"
        return {
            "anchors": {
                name: Anchors(step_0=base, shuffled=1.1 * base, real=0.3 * base) for name, base in losses.items()
            },
            "skill": {name: Measured(value=skill, low=skill - 0.1, high=skill + 0.1) for name in losses},
            "latest_step": latest,
            "latest_signals": (
                Signal(name="gap", raised=late, evidence=f"the gap at step {latest} is twice that of step {step}"),
                Signal(name=unknown, raised=None, evidence="it could not be computed"),
                *(Signal(name=name, raised=False, evidence="it is as it should be") for name in quiet),
            ),
            "advice": Advice(action="advise", reason=spoken) if late else Advice(action="continue"),
        }


def metrics_row(
    result: EvaluationResult, base: EvaluationResult | None, descriptions: MetricDescriptions, spread: float = 0.03
) -> dict[str, Value]:
    """One line of metrics.csv: the mean of every metric, and its paired difference to step 0; `spread`, of the
    composite."""
    row: dict[str, Value] = {
        "step": result.step,
        "timestamp": result.created,
        "status": result.status,
        "reason": result.reason,
        "evaluation_seconds": sum(result.seconds.values()),
        **{key: result.training.get(key) for key in ("epoch", "learning_rate")},
        "total_loss": result.training.get("loss"),
        "composite": None,
    }
    if result.status == "failed" or base is None:
        return row
    relative: list[float] = []
    for column in descriptions.compared:
        name = column.name
        values, before = per_prompt(result, name), per_prompt(base, name)
        row[name] = round(statistics.fmean(values), 5) if values else None
        if not values or result.step == 0:
            continue
        differences = [value - old for value, old in zip(values, before, strict=True)]
        found = interval(differences)
        row |= {f"{name}_{part}": round(number, 5) for part, number in found.model_dump().items()}
        if column.role == "loss":
            relative.append(column.worsening * found.delta / statistics.fmean(before))
    if relative:
        middle, spread = statistics.fmean(relative), spread
        row |= {"composite": middle, "composite_low": middle - spread, "composite_high": middle + spread}
    return row


def per_prompt(result: EvaluationResult, name: str) -> list[float]:
    """A metric's mean over the seeds of each prompt; empty when it is blank."""
    groups: dict[str, list[float]] = {}
    for sample in result.samples:
        value = sample.metrics.get(name)
        if value is None:
            return []
        groups.setdefault(sample.prompt_id, []).append(value)
    return [statistics.fmean(group) for group in groups.values()]


def interval(differences: list[float]) -> Interval:
    """Mean and its 95 % t-interval for eight prompts."""
    middle = statistics.fmean(differences)
    half = 2.365 * statistics.stdev(differences) / math.sqrt(len(differences))
    return Interval(delta=middle, low=middle - half, high=middle + half)


def number_of(row: dict[str, Value], column: str) -> float | None:
    """A cell as a number."""
    value = row.get(column)
    return float(value) if value is not None else None


def interval_of(row: dict[str, Value], metric: str, middle: str) -> Interval | None:
    """Three cells as an interval."""
    delta, low, high = (number_of(row, column) for column in (middle, f"{metric}_low", f"{metric}_high"))
    return None if delta is None or low is None or high is None else Interval(delta=delta, low=low, high=high)


def draw_kimono(prompt_id: str, seed: int) -> Image.Image:
    """The garment the run is said to learn: wide sleeves, an open front, a tartan in the prompt's colour."""
    color = COLORS[prompt_id.partition("/")[2].partition("-")[0]]
    picture = Image.new("RGB", (SIDE, SIDE), (246, 246, 244) if prompt_id.endswith("0") else (226, 228, 232))
    cloth, mask = Image.new("RGB", (SIDE, SIDE), color), Image.new("L", (SIDE, SIDE))
    lines = ImageDraw.Draw(cloth)
    light, dark = (tuple(min(255, int(c * f)) for c in color) for f in (1.55, 0.5))
    for offset in range(seed % 3, SIDE, 9):
        lines.line([(offset, 0), (offset, SIDE)], fill=light)
        lines.line([(0, offset), (SIDE, offset)], fill=dark, width=2)
    shape = ImageDraw.Draw(mask)
    shape.polygon(KIMONO, 255)
    shape.polygon([(29, 10), (35, 10), (32, 30)], 0)
    picture.paste(cloth, mask=mask)
    return picture


def draw_shirt(seed: int) -> Image.Image:
    """What the base model is said to draw for any prompt."""
    picture = Image.new("RGB", (SIDE, SIDE), (238, 238, 240))
    grey = 150 + seed % 3 * 12
    shape = ImageDraw.Draw(picture)
    shape.polygon(SHIRT, (grey, grey, grey + 8))
    return picture


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
            "evaluation": {"num_prompts": len(PROMPTS), "num_seeds": len(SEEDS)},
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


def write_history(fake: FakeRun, step_seconds: float = 0.4) -> None:
    """A finished run at once: a stop at one third, a resume, a failed evaluation, a blank metric."""
    run, steps, every = fake.run, fake.steps, fake.snapshot_steps
    table = Appender(run.train_csv, TRAIN_COLUMNS)
    checks = max(1, every // 2)
    write_rows(
        run.validation_csv, tuple(fake.validation_row(0)), map(fake.validation_row, range(checks, steps + 1, checks))
    )
    stopped_at = max(1, steps // 3)
    start = datetime.now(UTC) - timedelta(seconds=steps * step_seconds + 600)
    with (
        hold_role(run, "trainer") as trainer,
        hold_role(run, "evaluator") as evaluator,
    ):
        fake.publish_evaluation(0)
        lines: list[dict[str, Value]] = []
        for step in range(1, steps + 1):
            pause = 600 if step > stopped_at else 0
            when = start + timedelta(seconds=(step - 0.5 * fake.rng.random()) * step_seconds + pause)
            lines.append(fake.training_row(step, when, step_seconds * fake.rng.uniform(0.9, 1.1)))
        write_rows(run.train_csv, table.columns, lines)
        write_system(fake, start, step_seconds, stopped_at)
        evaluated = list(range(every, steps + 1, every)) or [steps]
        for step in evaluated:
            fake.publish_snapshot(step)
            failure = "the adapter holds a value that is not finite" if step == evaluated[-2:][0] else ""
            blank = fake.descriptions.losses[-1].name if step == evaluated[len(evaluated) // 4] else ""
            fake.publish_evaluation(step, failure, blank)
        fake.rebuild_tables()
        request = requests.submit_stop(run, "command line")
        for stage in ("seen", "saved", "stopped"):
            requests.answer(run, request, stage, stopped_at)
        (run.logs / "trainer.log").write_text("".join(f"INFO step {step} published\n" for step in evaluated))
        trainer.update(step=steps, total=steps)
        evaluator.update(step=evaluated[-1], total=len(evaluated))


def write_system(fake: FakeRun, start: datetime, step_seconds: float, stopped_at: int) -> None:
    """What a GPU of 24 GB took meanwhile: nothing is recorded during the pause, and the first row after it begins
    anew."""
    end, until, after = fake.steps * step_seconds, stopped_at * step_seconds, 600.0
    seconds = [second for second in range(0, math.ceil(end) + 10, 10) if second <= end or second == 0]
    begun = next((second for second in seconds if second > until), -1)
    rows: list[dict[str, Value]] = []
    for second in seconds:
        warm, wave = 1 - math.exp(-second / 60), math.sin(second / 17)
        when = start + timedelta(seconds=second + (after if second > until else 0))
        rows.append(
            {
                "timestamp": when.isoformat(timespec="milliseconds"),
                "seconds": 0.0 if second in (0, begun) else 10.0,
                "cpu_percent": round(22 + 6 * wave, 1),
                "memory_used_mib": round(9800 + 400 * warm),
                "disk_free_mib": 61_000 - 2 * second,
                "trainer_rss_mib": round(1450 + 60 * warm),
                "evaluator_rss_mib": round(1720 + 40 * wave),
                "dashboard_rss_mib": 260,
                "supervisor_rss_mib": 70,
                "trainer_gpu_mib": round(7300 + 200 * warm),
                "evaluator_gpu_mib": round(4100 + 900 * max(0.0, wave)),
                "gpu0_percent": round(91 + 7 * wave),
                "gpu0_memory_mib": round(11_900 + 200 * warm + 900 * max(0.0, wave)),
                "gpu0_celsius": round(44 + 28 * warm),
                "gpu0_watts": round(286 + 30 * wave, 1),
            }
        )
    write_rows(fake.run.system_csv(), (*SYSTEM_COLUMNS, *(f"gpu0_{name}" for name in GPU_COLUMNS)), rows)


def live(fake: FakeRun, step_seconds: float, evaluation_seconds: float, ignore_stop: bool) -> None:
    """Train and evaluate in time; answers a stop request as the trainer does, then the evaluator drains."""
    run = fake.run
    table = Appender(run.train_csv, TRAIN_COLUMNS)
    checks = Appender(run.validation_csv, tuple(fake.validation_row(0)))
    last = max(fake.run.published_snapshots(), default=0)
    prune(run.train_csv, lambda row: int(row["step"]) <= last)
    with hold_role(run, "trainer") as trainer, hold_role(run, "evaluator") as evaluator, recorded(run):
        trainer.update("preparing", step=last, total=fake.steps, message="caching latents")
        requests.ignore_before(run, trainer.record.started)
        waiting: list[int] = [] if run.evaluation(0).exists() else [0]
        ready_at = time.monotonic() + evaluation_seconds
        for step in range(last + 1, fake.steps + 1):
            time.sleep(step_seconds * fake.rng.uniform(0.9, 1.1))
            trainer.update("training", step=step, message="")
            append_in_two_halves(table, fake.training_row(step, datetime.now(UTC), step_seconds), step)
            if step % fake.snapshot_steps == 0:
                checks.append(fake.validation_row(step))
            stop, wanted = obey(run, trainer, step) if not ignore_stop else (None, False)
            if stop or wanted or step % fake.snapshot_steps == 0 or step == fake.steps:
                fake.publish_snapshot(step)
                waiting.append(step)
            if waiting and time.monotonic() > ready_at:
                draw_what_is_asked_for(fake)
                evaluate_next(fake, evaluator, waiting)
                ready_at = time.monotonic() + evaluation_seconds
            if stop:
                answer(run, stop, trainer, step)
                break
        trainer.close("stopped" if trainer.record.step < fake.steps else "finished")
        while waiting:
            evaluate_next(fake, evaluator, waiting, state="draining")


def draw_what_is_asked_for(fake: FakeRun) -> None:
    """With prompts of a person's own."""
    for request in requests.open_requests(fake.run, "evaluate"):
        if request.prompts:
            fake.publish_drawings(request)


def obey(run: RunDir, trainer: Status, step: int) -> tuple[Request | None, bool]:
    """Hold while paused; then the stop request, if there is one, and whether a snapshot is wanted."""
    held = carry_out(run, "pause", step)
    while held and not (carry_out(run, "resume", step) or requests.open_requests(run, "stop")):
        trainer.update("paused")
        time.sleep(0.1)
    return next(iter(requests.open_requests(run, "stop")), None), carry_out(run, "snapshot-now", step)


def carry_out(run: RunDir, kind: RequestKind, step: int) -> bool:
    """Answer every open request of a kind; whether there was one."""
    waiting = requests.open_requests(run, kind)
    for request in waiting:
        requests.answer(run, request, "seen", step)
        requests.answer(run, request, "done", step)
    return bool(waiting)


def append_in_two_halves(table: Appender, row: dict[str, Value], step: int) -> None:
    """Most rows whole; every fifth torn for a moment, as a reader may meet it on a network disk."""
    if step % 5:
        table.append(row)
        return
    text = io.StringIO()
    text.write(",".join("" if row.get(column) is None else str(row.get(column)) for column in table.columns) + "\n")
    line = text.getvalue().encode()
    with table.path.open("ab", buffering=0) as file:
        file.write(line[: len(line) // 2])
        time.sleep(0.05)
        file.write(line[len(line) // 2 :])


def evaluate_next(fake: FakeRun, evaluator: Status, waiting: list[int], state: State = "evaluating") -> None:
    """Evaluator the oldest snapshot that waits."""
    step = waiting.pop(0)
    known = len(fake.run.published_snapshots())
    with claimed(fake.run, step):
        evaluator.update(state, step=step, total=known)
        fake.publish_evaluation(step)
        fake.rebuild_tables()
    evaluator.update("idle")


def write_so_far(fake: FakeRun, step: int) -> list[int]:
    """Training up to a step; the snapshots that were saved on the way."""
    now = datetime.now(UTC)
    rows = [fake.training_row(one, now - timedelta(seconds=0.2 * (step - one)), 0.2) for one in range(1, step + 1)]
    write_rows(fake.run.train_csv, Appender(fake.run.train_csv, TRAIN_COLUMNS).columns, rows)
    saved = list(range(fake.snapshot_steps, step + 1, fake.snapshot_steps))
    for one in saved:
        fake.publish_snapshot(one)
    return saved


@contextmanager
def in_the_middle(fake: FakeRun) -> Generator[None]:
    """A run that goes on while the block runs: one snapshot is evaluated, one is at work, the others wait."""
    with hold_role(fake.run, "trainer") as trainer, hold_role(fake.run, "evaluator") as evaluator:
        saved = write_so_far(fake, 5 * fake.steps // 8)
        for step in (0, saved[0]):
            fake.publish_evaluation(step)
        fake.rebuild_tables()
        with claimed(fake.run, saved[1]):
            evaluator.update("evaluating", step=saved[1], message=f"step {saved[1]}")
            begun = (datetime.now(UTC) - timedelta(minutes=5)).isoformat(timespec="milliseconds")
            trainer.update("training", step=5 * fake.steps // 8, total=fake.steps, started=begun)
            yield


def write_failure(fake: FakeRun) -> None:
    """A run that ran out of memory before its first snapshot."""
    with contextlib.suppress(RuntimeError), hold_role(fake.run, "trainer") as trainer:
        write_so_far(fake, fake.snapshot_steps - 1)
        fake.publish_evaluation(0)
        fake.rebuild_tables()
        trainer.update("training", step=fake.snapshot_steps - 1, total=fake.steps)
        raise RuntimeError("CUDA out of memory: tried to allocate 2.00 GiB")


@contextmanager
def all_states(
    folder: Path, steps: int = 200, snapshot_steps: int = 40, descriptions: MetricDescriptions = OLDER_METRICS
) -> Generator[dict[str, FakeRun]]:
    """A run in each state that the first screen has words for: live (while the block runs), finished, unproven, empty,
    failed."""
    names = ("live", "finished", "unproven", "empty", "failed")
    runs = {name: create(folder / name, steps, snapshot_steps, descriptions) for name in names}
    write_history(runs["finished"])
    runs["finished"].confirm()
    runs["unproven"].talent = 0.0
    write_history(runs["unproven"])
    write_failure(runs["failed"])
    with in_the_middle(runs["live"]):
        yield runs


def answer(run: RunDir, request: Request, trainer: Status, step: int) -> None:
    """Carry a stop request out, slowly enough to watch."""
    trainer.update("saving")
    for stage in ("seen", "saved", "stopped"):
        requests.answer(run, request, stage, step)
        time.sleep(0.3)


def main() -> None:
    """Read the command line; Ctrl-C leaves a run that the next call continues."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder to write, such as runs/fake")
    parser.add_argument("--steps", type=int, default=600, help="optimizer updates in all")
    parser.add_argument("--snapshot-steps", type=int, default=50, help="updates between two snapshots")
    parser.add_argument("--all", action="store_true", help="RUN is a folder of runs: one in each state, until Ctrl-C")
    parser.add_argument("--live", action="store_true", help="as it happens, until the last step or a stop request")
    parser.add_argument("--step-seconds", type=float, default=0.2, help="live: seconds per update")
    parser.add_argument("--evaluation-seconds", type=float, default=4.0, help="live: seconds between two evaluations")
    parser.add_argument("--ignore-stop", action="store_true", help="live: a trainer that does not answer")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        if options.all:
            with all_states(options.run, options.steps, options.snapshot_steps):
                threading.Event().wait()
        fake = create(options.run, options.steps, options.snapshot_steps)
        if options.live:
            live(fake, options.step_seconds, options.evaluation_seconds, options.ignore_stop)
        else:
            write_history(fake)


if __name__ == "__main__":
    main()
