"""A place whose trials only write what a run folder says: a snapshot at each look, its numbers from the settings."""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from shared.run_folder import requests
from shared.run_folder.metric_descriptions import Column, MetricDescription, MetricDescriptions
from shared.run_folder.records.best import Best
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample
from shared.run_folder.records.interval import Interval
from shared.run_folder.records.process_status import ProcessStatus
from shared.run_folder.records.run_record import DatasetRecord, RunRecord
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import utc_now

NUM_PROMPTS = 8
STEPS = (10, 20, 30)
LOSS = Column(name="look", meaning="how far off", direction="lower", role="loss", weight=1.0)
METRICS = MetricDescriptions(metrics=(MetricDescription(name="look", columns=(LOSS,)),))
Score = Callable[[Mapping[str, Any], int, int], float]
"""(settings as `section.key`, step, number of the prompt) → the loss; the base model's is `base_loss`."""


def base_loss(prompt: int) -> float:
    """Of step 0."""
    return 1 + prompt / 10


def write_run(run: RunDir, name: str = "trial") -> None:
    """An empty run folder."""
    for folder in (run.evaluations, run.control, run.processes, run.logs, run.snapshots):
        folder.mkdir(parents=True, exist_ok=True)
    data = DatasetRecord(path="pictures", num_images=9, fingerprint="0", held_out=())
    RunRecord(run_id="1", name=name, seed=0, versions={}, hardware={}, dataset=data, base_model={}).write(run.record)
    METRICS.write(run.metric_descriptions)


def write_result(run: RunDir, step: int, losses: Mapping[int, float]) -> None:
    """The evaluation of a snapshot. losses: by the number of the prompt."""
    samples = tuple(
        Sample(prompt_id=f"pair-{number}", prompt=f"prompt {number}", seed=1, metrics={"look": loss})
        for number, loss in losses.items()
    )
    run.evaluation(step).mkdir(parents=True, exist_ok=True)
    EvaluationResult(run_id="1", step=step, status="ok", samples=samples).write(run.evaluation(step) / "result.json")


def write_best(run: RunDir, step: int, *, flagged: bool = False) -> None:
    """The verdict."""
    interval = Interval(delta=-1, low=-2, high=0)
    Best(
        step=step, snapshot="", reason="", better_than_base=True, num_evaluated=1, composite=interval, flagged=flagged
    ).write(run.best)


def write_status(run: RunDir, role: str, state: str, step: int = 0) -> None:
    """Of a program that this process stands in for."""
    now, own = utc_now(), psutil.Process()
    ProcessStatus.model_validate(
        {
            "role": role,
            "run_id": "1",
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "process_started": own.create_time(),
            "started": now,
            "heartbeat": now,
            "state": state,
            "step": step,
            "total": STEPS[-1],
        }
    ).write(run.processes / f"{role}.json")


@dataclass
class Acted:
    """A trial that is acted: a snapshot at each look, until it is over or asked to stop."""

    run: RunDir
    settings: dict[str, Any]
    score: Score
    exit_code: int
    code: int | None = None

    def poll(self) -> int | None:
        """See `Started`."""
        if self.code is not None:
            return self.code
        if self.exit_code:
            return self._over("failed", self.exit_code)
        if asked := requests.open_requests(self.run, "stop"):
            requests.answer(self.run, asked[0], "stopped", 0)
            return self._over("stopped", 0)
        left = [step for step in STEPS if not self.run.evaluation(step).exists()]
        if not left:
            return self._over("finished", 0)
        write_result(self.run, left[0], {one: self.score(self.settings, left[0], one) for one in range(NUM_PROMPTS)})
        write_best(self.run, left[0])
        write_status(self.run, "trainer", "training", left[0])
        return None

    def end(self) -> None:
        """See `Started`."""

    def _over(self, state: str, code: int) -> int:
        self.code = code
        done = max((step for step in STEPS if self.run.evaluation(step).exists()), default=0)
        write_status(self.run, "trainer", state, done)
        write_status(self.run, "supervisor", "finished")
        return code


@dataclass
class Stage:
    """See `Place`."""

    score: Score
    num_slots: int = 1
    fails: Callable[[Mapping[str, Any]], int] = lambda settings: 0
    started: list[str] = field(default_factory=list[str])
    """Names of the runs, in the order of their starts."""

    def start(self, config: Path, log: Path) -> Acted:
        """See `Place`."""
        tree = tomllib.loads(config.read_text(encoding="utf-8"))
        settings = {f"{table}.{key}": value for table, keys in tree.items() for key, value in keys.items()}
        run = RunDir(Path(settings["run.output_dir"]) / settings["run.name"])
        if not run.record.exists():
            write_run(run, run.path.name)
            write_result(run, 0, {prompt: base_loss(prompt) for prompt in range(NUM_PROMPTS)})
        write_status(run, "supervisor", "training")
        self.started.append(run.path.name)
        log.parent.mkdir(exist_ok=True)
        code = self.fails(settings)
        if code:
            log.write_text(f"error: no luck with {settings['lora.rank']}\nhint: take another\n", encoding="utf-8")
        return Acted(run, settings, self.score, code)
