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
from tasks.text_to_image.probes import ProbeKind, probe_prompts
from tasks.text_to_image.scoring.metric_input import MetricInput, Row

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
        first, again = self._seeds(len(prompts))
        rounds = [first, again] if step == BASE_MODEL else [first]
        return {
            f"{job.prompt_id.replace(':', '-')}-seed-{job.seed}.png": (job, picture)
            for seed in rounds
            for job, picture in self._round(prompts, seed)
        }

    def score(self, step: int, drawn: Drawn) -> list[Sample]:
        """What was drawn, with its numbers; the base model's second pictures are only compared with."""
        base = {(job.prompt_id, job.seed): picture for job, picture in drawn.values()}
        if step != BASE_MODEL:
            base = {key: open_picture(path) for key, path in self._base().items()} if drawn else {}
        again = self._seeds(len({prompt_id for prompt_id, _ in base}))[1]
        rows: dict[str, Row] = {}
        for kind, prompts in self._prompts.items():
            names = [name for name, (job, _) in drawn.items() if job.prompt_id in prompts and job.seed < again]
            if names:
                rows |= dict(zip(names, self._scored(kind, [drawn[name] for name in names], base), strict=True))
        return [
            Sample(
                prompt_id=job.prompt_id,
                prompt=job.prompt,
                has_reference=False,
                seed=job.seed,
                image=name,
                batch=job.batch,
                metrics=rows.get(name, {}),
            )
            for name, (job, _) in drawn.items()
        ]

    @property
    def _prompts(self) -> dict[ProbeKind, dict[str, str]]:
        return probe_prompts(self.config)

    def _seeds(self, num_prompts: int) -> tuple[int, int]:
        """The seed of the first prompt's first and second picture."""
        first = (self.config.evaluation.seed + FIRST_SEED) % 2**30
        return first, first + num_prompts

    def _round(self, prompts: dict[str, str], first: int) -> list[tuple[Job, Image.Image]]:
        """One picture of each prompt, in batches that are the same at every step."""
        settings = self.config.evaluation.model_copy(update={"num_seeds": 1, "seed": first})
        planned = jobs(prompts, dict.fromkeys(prompts, self.size), settings)
        pictures = [picture for batch in self.image_generator.draw(planned) for picture in batch]
        return list(zip(planned, pictures, strict=True))

    def _scored(
        self, kind: ProbeKind, drawn: list[tuple[Job, Image.Image]], base: dict[tuple[str, int], Image.Image]
    ) -> list[Row]:
        others = {prompt_id: base[prompt_id, seed] for prompt_id, seed in sorted(base)}  # the last of two seeds
        metric_input = MetricInput(
            (),
            [picture for _, picture in drawn],
            [job.prompt for job, _ in drawn],
            base=[base[job.prompt_id, job.seed] for job, _ in drawn],
            base_again=[others[job.prompt_id] for job, _ in drawn],
        )
        return self.scorer.score_probes(metric_input, kind).rows

    def _base(self) -> dict[tuple[str, int], Path]:
        """The base model's pictures, by prompt and seed."""
        result = self.run.read_result(BASE_MODEL)
        folder = self.run.evaluation(BASE_MODEL) / "images"
        return {(sample.prompt_id, sample.seed): folder / sample.image for sample in result.probes} if result else {}
