"""The probe prompts of an evaluation: drawn after its other pictures, of which nothing changes, and scored apart.

The base model draws each with two seeds: the distance of the two is the unit of the price. A snapshot draws the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from shared.config.schema import Config
from shared.data.buckets import Size
from shared.data.pictures import open_picture
from shared.run_folder.pending import BASE_MODEL
from shared.run_folder.records.evaluation_result import Sample
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.evaluation.image_generator import ImageGenerator, Job, jobs
from tasks.text_to_image.evaluation.scorer import Scorer
from tasks.text_to_image.metrics.metric_input import MetricInput
from tasks.text_to_image.probes import ProbeKind, probe_prompts

FIRST_SEED = 1_000_000
"""After `evaluation.seed`: no other picture of a run has one of these."""
Drawn = dict[str, tuple[Job, Image.Image]]
"""File name → what it shows."""


@dataclass(frozen=True)
class ProbePictures:
    """Draws and scores the probe prompts of a run."""

    run: RunDir
    config: Config
    image_generator: ImageGenerator
    scorer: Scorer
    size: Size

    def draw(self, step: int) -> Drawn:
        """Empty where there are no probe prompts, or where the base model's pictures of them are missing.

        They are missing if an earlier version of Darkroom evaluated the base model.
        """
        prompts = {name: text for of_kind in self._prompts.values() for name, text in of_kind.items()}
        if not prompts or (step != BASE_MODEL and not self._base()):
            return {}
        seeds = (self.config.evaluation.seed + FIRST_SEED) % 2**30
        rounds = [seeds, seeds + len(prompts)] if step == BASE_MODEL else [seeds]
        return {
            f"{job.prompt_id.replace(':', '-')}-seed-{job.seed}.png": (job, picture)
            for first in rounds
            for job, picture in self._round(prompts, first)
        }

    def score(self, step: int, drawn: Drawn) -> list[Sample]:
        """What was drawn, with its numbers."""
        samples: list[Sample] = []
        for kind, prompts in self._prompts.items():
            of_kind = {name: shown for name, shown in drawn.items() if shown[0].prompt_id in prompts}
            if of_kind:
                samples += self._scored(step, kind, of_kind)
        return samples

    @property
    def _prompts(self) -> dict[ProbeKind, dict[str, str]]:
        return probe_prompts(self.config)

    def _round(self, prompts: dict[str, str], first: int) -> list[tuple[Job, Image.Image]]:
        """One picture of each prompt, in batches that are the same at every step."""
        settings = self.config.evaluation.model_copy(update={"num_seeds": 1, "seed": first})
        planned = jobs(prompts, dict.fromkeys(prompts, self.size), settings)
        pictures = [picture for batch in self.image_generator.draw(planned) for picture in batch]
        return list(zip(planned, pictures, strict=True))

    def _scored(self, step: int, kind: ProbeKind, drawn: Drawn) -> list[Sample]:
        pictures, paths = [picture for _, picture in drawn.values()], self._base()
        if step == BASE_MODEL:
            base = pictures
        else:
            base = [open_picture(paths[job.prompt_id, job.seed]) for job, _ in drawn.values()]
        metric_input = MetricInput((), pictures, [job.prompt for job, _ in drawn.values()], base=base)
        rows = self.scorer.score_probes(metric_input, kind).rows
        return [
            Sample(
                prompt_id=job.prompt_id,
                prompt=job.prompt,
                has_reference=False,
                seed=job.seed,
                image=name,
                batch=job.batch,
                metrics=row,
            )
            for (name, (job, _)), row in zip(drawn.items(), rows, strict=True)
        ]

    def _base(self) -> dict[tuple[str, int], Path]:
        """The base model's pictures, by prompt and seed."""
        result = self.run.read_result(BASE_MODEL)
        folder = self.run.evaluation(BASE_MODEL) / "images"
        return {(sample.prompt_id, sample.seed): folder / sample.image for sample in result.probes} if result else {}
