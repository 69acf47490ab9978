"""One evaluation of a snapshot: draw every prompt with every seed, score the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from shared.config.schema import Config
from shared.data.pictures import open_picture
from shared.run_folder.pending import BASE_MODEL
from shared.run_folder.records.evaluation_result import EvaluationResult, Sample
from shared.run_folder.run_dir import SHEET, ResultKind, RunDir, strength_of
from shared.run_folder.tables import Value, write_rows
from tasks import devices
from tasks.protocol import EvaluationOutput
from tasks.text_to_image.evaluation import contact_sheet, references
from tasks.text_to_image.evaluation.anchors import anchors
from tasks.text_to_image.evaluation.image_generator import ImageGenerator, Job, jobs
from tasks.text_to_image.evaluation.learnt import Learnt
from tasks.text_to_image.evaluation.lookalikes import Lookalikes
from tasks.text_to_image.evaluation.probe_pictures import ProbePictures
from tasks.text_to_image.evaluation.references import References
from tasks.text_to_image.evaluation.scorer import Scorer, Scores
from tasks.text_to_image.evaluation.training_set import TrainingSet
from tasks.text_to_image.metrics import unmeasured
from tasks.text_to_image.scoring.metric_input import MetricInput

IMAGES = "images"
"""Folder of a result's pictures."""
PNG_LEVEL = 1
"""zlib's: a third of the time of the usual 6, for files an eighth larger (512², benchmarks/LOG.md)."""


@dataclass(frozen=True)
class PictureEvaluation:
    """The resident pipeline, the prompts to draw, and the scorer: `tasks.protocol.Evaluation` of this task."""

    run: RunDir
    config: Config
    references: References
    image_generator: ImageGenerator
    learnt: Learnt
    scorer: Scorer
    training: TrainingSet
    num_before: int = 0
    """Pictures of each prompt that other evaluations draw with the seeds ahead of these."""
    strength: float = 1.0
    """Of what is learnt: the factor of a LoRA's updates."""

    @property
    def device(self) -> torch.device:
        """The device that draws."""
        return self.image_generator.device

    def rest(self) -> None:
        """The base model leaves the device; the encoders of metrics stay."""
        self.image_generator.rest()

    def wake(self) -> None:
        """The base model comes back."""
        self.image_generator.move_to(self.device)

    def swap(self, snapshot: Path | None) -> str:
        """Load what this snapshot holds; None: the base model as it was before training."""
        return self.learnt.swap(snapshot, self.strength)

    def evaluate(self, step: int, kind: ResultKind, output: EvaluationOutput) -> None:
        """Draw every prompt with every seed, then score the pictures."""
        output.encoders = {column: encoder.model_dump() for column, encoder in self.scorer.encoders.items()}
        with output.timed("generate"):
            wanted = self.references
            planned = jobs(
                wanted.prompts, wanted.sizes, self.config.evaluation, wanted.own, self.num_before, wanted.sources
            )
            batches = list(self.image_generator.draw(planned))
            probes = self._probes.draw(step) if kind == "evaluations" else {}
        output.memory = devices.memory(self.device)
        drawn = [picture for batch in batches for picture in batch]
        numbers = [number for number, batch in enumerate(batches) for _ in batch]
        done = [replace(job, batch=number) for job, number in zip(planned, numbers, strict=True)]
        pictures = {
            f"{number:03d}-seed-{job.seed}.png": (job, picture)
            for number, (job, picture) in enumerate(zip(done, drawn, strict=True))
        }
        lookalikes = Lookalikes(self.scorer, self.training)

        def write(folder: Path, result: EvaluationResult) -> None:
            _write(folder, result, pictures, self.references)
            _save(folder, result, probes)
            lookalikes.write(folder)

        output.write = write
        with output.timed("score"):
            scores = self._score(step, kind, done, drawn)
            output.probes = self._probes.score(step, probes)
            if step == BASE_MODEL and kind == "evaluations":
                output.anchors = anchors(list(self.references.pictures.values()), self.scorer)
        output.missing = {**unmeasured(self.config), **scores.missing}
        resembled = lookalikes.take(scores.rows)
        output.samples = [
            Sample(
                prompt_id=job.prompt_id,
                prompt=job.prompt,
                has_reference=job.prompt_id in self.references.pictures,
                num_sources=len(job.sources),
                options=job.own.given(),
                seed=job.seed,
                image=name,
                batch=job.batch,
                metrics=metrics,
                lookalikes=alike,
            )
            for (name, (job, _)), metrics, alike in zip(pictures.items(), scores.rows, resembled, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        """The settings with which pictures are drawn."""
        other = self.config.evaluation.model
        drawn = self.image_generator.describe() | ({"base_model": other} if other else {})
        return drawn if self.strength == 1.0 else {**drawn, "strength": self.strength}

    def further(self) -> PictureEvaluation:
        """To confirm the best snapshots: further prompts, if any, and the same ones, with the seeds that follow."""
        settings = self.config.evaluation
        first = settings.seed + len(self.references.prompts) * settings.num_seeds
        changed = settings.model_copy(update={"num_seeds": settings.confirm_seeds, "seed": first})
        multiple, others = self.image_generator.model.size_multiple, self.references
        if self.run.further_references.exists():
            others = references.load(self.run, self.config, multiple, self.run.further_references).beside(others)
        config = self.config.model_copy(update={"evaluation": changed})
        return replace(self, config=config, references=others, num_before=settings.num_seeds)

    def with_prompts(self, prompts: Sequence[str]) -> PictureEvaluation:
        """To draw prompts that the user requested."""
        multiple = self.image_generator.model.size_multiple
        return replace(self, references=references.requested(prompts, self.config, multiple, self.references))

    def at_strength(self, strength: float) -> PictureEvaluation | None:
        """To draw the same pictures with what is learnt at another strength."""
        return replace(self, strength=strength) if self.learnt.has_strength else None

    def average(self, steps: Sequence[int], folder: Path) -> dict[str, Any]:
        """Write what is the average of these snapshots."""
        return self.learnt.average(steps, folder)

    @property
    def _probes(self) -> ProbePictures:
        multiple = self.image_generator.model.size_multiple
        size = references.square(self.config, multiple)
        return ProbePictures(self.run, self.config, self.image_generator, self.scorer, size)

    def _score(self, step: int, kind: ResultKind, done: list[Job], drawn: list[Image.Image]) -> Scores:
        """Every metric; of requested prompts, those that need nothing else."""
        metric_input = MetricInput((), drawn, [job.prompt for job in done])
        if kind.startswith(f"{self.run.requested.name}/"):
            return self.scorer.score_without_references(metric_input)
        base = drawn if step == BASE_MODEL else self._base_pictures(kind, done)
        references = [self.references.pictures.get(job.prompt_id) for job in done]
        sources = [job.sources[0] if job.sources else None for job in done]
        metric_input = replace(metric_input, base=base, training=self.training, sources=sources)
        return self.scorer.score_run(references, metric_input)

    def _base_pictures(self, kind: ResultKind, done: list[Job]) -> list[Image.Image] | None:
        """Step 0's pictures of the same prompts and seeds; None if one is missing."""
        kind = "evaluations" if strength_of(kind) else kind  # before training there is no strength
        result = self.run.read_result(BASE_MODEL, kind)
        folder = self.run.result(kind, BASE_MODEL) / IMAGES
        paths = {(sample.prompt_id, sample.seed): folder / sample.image for sample in result.samples} if result else {}
        base_paths = [paths.get((job.prompt_id, job.seed)) for job in done]
        return [open_picture(path) for path in base_paths if path] if all(base_paths) else None


def _write(
    folder: Path, result: EvaluationResult, pictures: dict[str, tuple[Job, Image.Image]], references: References
) -> None:
    """Write every picture with a description; if there are numbers, also a table and the contact sheet."""
    (folder / IMAGES).mkdir()
    _save(folder, result, pictures)
    if result.samples:
        _write_rows(folder / "images.csv", result.samples)
        (folder / SHEET).write_bytes(contact_sheet.draw(references, list(pictures.values())))


def _save(folder: Path, result: EvaluationResult, pictures: dict[str, tuple[Job, Image.Image]]) -> None:
    for name, (job, picture) in pictures.items():
        picture.save(folder / IMAGES / name, pnginfo=_description(result, job), compress_level=PNG_LEVEL)


def _write_rows(path: Path, samples: Sequence[Sample]) -> None:
    """One line for each picture, with every number: enough to recompute means and intervals without Darkroom."""
    columns = tuple(dict.fromkeys(column for sample in samples for column in (*sample.metrics, *sample.lookalikes)))
    rows: list[dict[str, Value]] = [
        {
            **sample.metrics,
            **_ids(sample),
            "prompt_id": sample.prompt_id,
            "prompt": sample.prompt,
            "seed": sample.seed,
            "file": f"{IMAGES}/{sample.image}",
        }
        for sample in samples
    ]
    write_rows(path, ("prompt_id", "prompt", "seed", "file", *columns), rows)


def _ids(sample: Sample) -> dict[str, Value]:
    return {column: lookalike.id for column, lookalike in sample.lookalikes.items()}


def _description(result: EvaluationResult, job: Job) -> PngInfo:
    """The text in a picture's file: prompt, seed, step, snapshot."""
    info = PngInfo()
    for key, value in (
        ("prompt", job.prompt),
        *((name, str(value)) for name, value in job.own.given().items()),
        ("seed", str(job.seed)),
        ("step", str(result.step)),
        ("snapshot", result.snapshot_digest),
        ("run_id", result.run_id),
    ):
        info.add_itxt(key, value)
    return info
