"""One evaluation, from a published snapshot to a published result.

An evaluation that cannot be made is a result too, `failed` with the reason: the run goes on with the next snapshot.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from evaluator.gpu_memory import LeakDetector
from shared.config.schema import Config
from shared.data.pictures import open_picture
from shared.errors import DarkroomError, RunFolderError
from shared.files.publication import publish, read_manifest, remove
from shared.run_folder.pending import BASE_MODEL
from shared.run_folder.records import Anchors, EvaluationResult, Manifest, RunRecord, Sample
from shared.run_folder.run_dir import SHEET, ResultKind, RunDir
from shared.run_folder.tables import Value, write_rows
from tasks.devices import is_out_of_memory
from tasks.text_to_image.evaluation import contact_sheet, snapshot_file
from tasks.text_to_image.evaluation.anchors import anchors
from tasks.text_to_image.evaluation.image_generator import ImageGenerator, Job, jobs
from tasks.text_to_image.evaluation.references import References
from tasks.text_to_image.evaluation.scorer import Scorer, Scores
from tasks.text_to_image.evaluation.training_set import TrainingSet
from tasks.text_to_image.metrics.metric_input import MetricInput

log = logging.getLogger(__name__)

IMAGES = "images"
"""Folder of a result's pictures."""


@dataclass
class _Work:
    """What one evaluation has come to so far."""

    digest: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, tuple[Job, Image.Image]] = field(default_factory=dict)
    """File name → the job and its picture."""
    samples: list[Sample] = field(default_factory=list)
    anchors: dict[str, Anchors] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Generator[None]:
        """Note the wall time of a stage."""
        started = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - started, 3)


@dataclass(frozen=True)
class Evaluator:
    """Swaps a snapshot in, draws every job, scores the pictures, publishes."""

    run: RunDir
    config: Config
    record: RunRecord
    references: References
    image_generator: ImageGenerator
    scorer: Scorer
    training: TrainingSet
    leak_detector: LeakDetector
    kind: ResultKind = "evaluations"

    def confirming(self, references: References) -> Evaluator:
        """The evaluator of the finalists: other prompts, more pictures of each, seeds that follow the first ones."""
        settings = self.config.evaluation
        first = settings.seed + settings.num_prompts * settings.num_seeds
        changed = settings.model_copy(update={"num_seeds": settings.confirm_seeds, "seed": first})
        config = self.config.model_copy(update={"evaluation": changed})
        return replace(self, config=config, references=references, kind="confirmations")

    def answering(self, kind: ResultKind, references: References) -> Evaluator:
        """The evaluator of what a person asked for."""
        return replace(self, references=references, kind=kind)

    def evaluate(self, step: int, *, patient: bool = False) -> EvaluationResult | None:
        """Make and publish the result of a step; step 0 is the base model.

        None: out of memory, nothing is published, and the `patient` will try again later.
        """
        work, result = _Work(), None
        try:
            self._evaluate(step, work)
            result = self._result(step, work, "ok", "")
        except (DarkroomError, RuntimeError, ValueError) as error:
            if not (patient and is_out_of_memory(error)):
                ours = isinstance(error, DarkroomError)
                log.error("step %d could not be evaluated: %s", step, error, exc_info=not ours)
                result = self._result(step, work, "failed", str(error) or type(error).__name__)
        if result is not None:
            self._publish(result, work)
        return result

    def _evaluate(self, step: int, work: _Work) -> None:
        with work.timed("swap"):
            self._swap(step, work)
        with work.timed("generate"):
            wanted = jobs(self.references.prompts, self.references.sizes, self.config.evaluation)
            batches = list(self.image_generator.draw(wanted))
        work.memory = self.leak_detector.measure(self.image_generator.device)
        drawn = [picture for batch in batches for picture in batch]
        numbers = [number for number, batch in enumerate(batches) for _ in batch]
        wanted = [replace(job, batch=number) for job, number in zip(wanted, numbers, strict=True)]
        work.pictures = {
            f"{number:03d}-seed-{job.seed}.png": (job, picture)
            for number, (job, picture) in enumerate(zip(wanted, drawn, strict=True))
        }
        with work.timed("score"):
            scores = self._score(step, wanted, drawn)
            if step == BASE_MODEL and self.kind == "evaluations":
                work.anchors = anchors(list(self.references.pictures.values()), self.scorer)
        work.missing = scores.missing
        work.samples = [
            Sample(
                prompt_id=job.prompt_id, prompt=job.prompt, seed=job.seed, image=name, batch=job.batch, metrics=metrics
            )
            for (name, (job, _)), metrics in zip(work.pictures.items(), scores.rows, strict=True)
        ]

    def _score(self, step: int, wanted: list[Job], drawn: list[Image.Image]) -> Scores:
        """Every metric; without references those that need none."""
        if self.references.pictures:
            return self.scorer.score(self._metric_input(step, wanted, drawn))
        return self.scorer.score_without_references(drawn, [job.prompt for job in wanted])

    def _metric_input(self, step: int, wanted: list[Job], drawn: list[Image.Image]) -> MetricInput:
        return MetricInput(
            references=[self.references.pictures[job.prompt_id] for job in wanted],
            samples=drawn,
            prompts=[job.prompt for job in wanted],
            base=drawn if step == BASE_MODEL else self._base_pictures(wanted),
            training=self.training,
        )

    def _base_pictures(self, wanted: list[Job]) -> list[Image.Image] | None:
        """Step 0's pictures of the same prompts and seeds; None when one is missing."""
        result = self.run.read_result(BASE_MODEL, self.kind)
        folder = self.run.result(self.kind, BASE_MODEL) / IMAGES
        paths = {(sample.prompt_id, sample.seed): folder / sample.image for sample in result.samples} if result else {}
        found = [paths.get((job.prompt_id, job.seed)) for job in wanted]
        return [open_picture(path) for path in found if path] if all(found) else None

    def _swap(self, step: int, work: _Work) -> None:
        if step == BASE_MODEL:
            work.training = {"epoch": 0}
            self.image_generator.swap(None)
            return
        manifest = read_manifest(self.run.snapshot(step))
        if manifest is None:
            raise RunFolderError(f"the snapshot of step {step} has vanished")
        work.training = _training(manifest)
        file = snapshot_file.read(self.run.snapshot(step), self.image_generator.expected, self.config.lora)
        work.digest = file.digest
        self.image_generator.swap(file)

    def _result(self, step: int, work: _Work, status: Literal["ok", "failed"], reason: str) -> EvaluationResult:
        return EvaluationResult(
            run_id=self.record.run_id,
            step=step,
            status=status,
            reason=reason,
            snapshot_digest=work.digest,
            training=work.training,
            generation=self.image_generator.describe(),
            encoders={column: encoder.model_dump() for column, encoder in self.scorer.encoders.items()},
            missing=work.missing,
            seconds=work.seconds,
            memory=work.memory,
            anchors=work.anchors,
            samples=tuple(work.samples),
        )

    def _publish(self, result: EvaluationResult, work: _Work) -> None:
        def write(folder: Path) -> None:
            (folder / IMAGES).mkdir()
            for name, (job, picture) in work.pictures.items():
                picture.save(folder / IMAGES / name, pnginfo=_described(result, job))
            if result.samples:
                _write_rows(folder / "images.csv", result.samples)
                (folder / SHEET).write_bytes(contact_sheet.draw(self.references, list(work.pictures.values())))
            result.write(folder / "result.json")

        manifest = Manifest(kind="evaluation", run_id=self.record.run_id, step=result.step)
        target = self.run.result(self.kind, result.step)
        target.parent.mkdir(parents=True, exist_ok=True)
        before = self.run.read_result(result.step, self.kind)
        if before and before.status == "skipped":  # until somebody asked for it
            remove(self.run.staging, target)
        if not publish(self.run.staging, target, manifest, write):
            log.warning("step %d was evaluated by another evaluator first; this result is dropped", result.step)


def skip(run: RunDir, record: RunRecord, step: int, reason: str) -> None:
    """Publish that a snapshot is skipped: a result without pictures."""
    manifest = read_manifest(run.snapshot(step))
    training = _training(manifest) if manifest else {}
    result = EvaluationResult(run_id=record.run_id, step=step, status="skipped", reason=reason, training=training)
    sealed = Manifest(kind="evaluation", run_id=record.run_id, step=step)
    publish(run.staging, run.evaluation(step), sealed, lambda folder: result.write(folder / "result.json"))


def _training(manifest: Manifest) -> dict[str, Any]:
    """What the trainer said when it published the snapshot."""
    return {key: manifest.details.get(key) for key in ("epoch", "loss", "learning_rate")}


def _write_rows(path: Path, samples: Sequence[Sample]) -> None:
    """One line for each picture, with every number: enough to recompute means and intervals without Darkroom."""
    columns = tuple(dict.fromkeys(column for sample in samples for column in sample.metrics))
    rows: list[dict[str, Value]] = [
        {**sample.metrics, "prompt_id": sample.prompt_id, "seed": sample.seed, "file": f"{IMAGES}/{sample.image}"}
        for sample in samples
    ]
    write_rows(path, ("prompt_id", "seed", "file", *columns), rows)


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
