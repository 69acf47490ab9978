"""One evaluation, from a published snapshot to a published result.

An evaluation that cannot be made is a result too, `failed` with the reason: the run goes on with the next snapshot.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from evaluator import adapter
from evaluator.queue import BASE_MODEL
from evaluator.references import References
from evaluator.scorer import Scorer
from evaluator.studio import Job, Studio, jobs
from shared.config import Config
from shared.errors import DarkroomError, RunFolderError
from shared.publication import publish, read_manifest
from shared.records import EvaluationResult, Manifest, RunRecord, Sample
from shared.rundir import RunDir

log = logging.getLogger(__name__)


@dataclass
class _Work:
    """What one evaluation has come to so far."""

    digest: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, tuple[Job, Image.Image]] = field(default_factory=dict)
    """File name → the job and its picture."""
    samples: list[Sample] = field(default_factory=list)
    blanks: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Generator[None]:
        """Note the wall time of a stage."""
        started = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - started, 3)


@dataclass(frozen=True)
class Judge:
    """Swaps a snapshot in, draws every job, scores the pictures, publishes."""

    run: RunDir
    config: Config
    record: RunRecord
    references: References
    studio: Studio
    scorer: Scorer

    def judge(self, step: int) -> EvaluationResult:
        """Make and publish the result of a step; step 0 is the base model."""
        work = _Work()
        try:
            self._evaluate(step, work)
            result = self._result(step, work, "ok", "")
        except (DarkroomError, RuntimeError, ValueError) as error:
            log.exception("step %d could not be judged", step)
            result = self._result(step, work, "failed", str(error) or type(error).__name__)
        self._publish(result, work)
        return result

    def _evaluate(self, step: int, work: _Work) -> None:
        with work.timed("swap"):
            self._swap(step, work)
        with work.timed("generate"):
            wanted = jobs(self.references.prompts, self.references.sizes, self.config.evaluation)
            drawn = [picture for batch in self.studio.draw(wanted) for picture in batch]
        work.pictures = {
            f"{number:03d}-seed-{job.seed}.png": (job, picture)
            for number, (job, picture) in enumerate(zip(wanted, drawn, strict=True))
        }
        with work.timed("score"):
            scores = self.scorer.score(
                [self.references.pictures[job.prompt_id] for job in wanted], drawn, [job.prompt for job in wanted]
            )
        work.blanks = scores.blanks
        work.samples = [
            Sample(
                prompt_id=job.prompt_id, prompt=job.prompt, seed=job.seed, image=name, batch=job.batch, metrics=metrics
            )
            for (name, (job, _)), metrics in zip(work.pictures.items(), scores.rows, strict=True)
        ]

    def _swap(self, step: int, work: _Work) -> None:
        if step == BASE_MODEL:
            work.training = {"epoch": 0}
            self.studio.swap(None)
            return
        manifest = read_manifest(self.run.snapshot(step))
        if manifest is None:
            raise RunFolderError(f"the snapshot of step {step} has vanished")
        work.training = {key: manifest.details.get(key) for key in ("epoch", "loss", "learning_rate")}
        file = adapter.read(self.run.snapshot(step), self.studio.expected, self.config.lora)
        work.digest = file.digest
        self.studio.swap(file)

    def _result(self, step: int, work: _Work, status: str, reason: str) -> EvaluationResult:
        return EvaluationResult(
            run_id=self.record.run_id,
            step=step,
            status="ok" if status == "ok" else "failed",
            reason=reason,
            snapshot_digest=work.digest,
            training=work.training,
            generation=self.studio.describe(),
            encoders={column: encoder.model_dump() for column, encoder in self.scorer.encoders.items()},
            blanks=work.blanks,
            seconds=work.seconds,
            samples=tuple(work.samples),
        )

    def _publish(self, result: EvaluationResult, work: _Work) -> None:
        def write(folder: Path) -> None:
            (folder / "images").mkdir()
            for name, (job, picture) in work.pictures.items():
                picture.save(folder / "images" / name, pnginfo=_described(result, job))
            result.write(folder / "result.json")

        manifest = Manifest(kind="evaluation", run_id=self.record.run_id, step=result.step)
        if not publish(self.run.staging, self.run.evaluation(result.step), manifest, write):
            log.warning("step %d was judged by another evaluator first; this result is dropped", result.step)


def _described(result: EvaluationResult, job: Job) -> PngInfo:
    """What a picture says of itself: prompt, seed, step, and the snapshot that drew it."""
    info = PngInfo()
    for key, value in (
        ("prompt", job.prompt),
        ("seed", str(job.seed)),
        ("step", str(result.step)),
        ("snapshot", result.snapshot_digest),
        ("run_id", result.run_id),
    ):
        info.add_itxt(key, value)
    return info
