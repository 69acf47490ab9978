"""Invented evaluations of snapshots, with pictures."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from examples.fake_run.pictures import SIDE, draw_kimono, draw_shirt
from examples.fake_run.run import PROMPTS, SEEDS, FakeRun
from shared.files.publication import publish
from shared.run_folder import requests
from shared.run_folder.records.evaluation_result import EvaluationResult, Lookalike, Sample
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.records.request import Request
from shared.run_folder.run_dir import ResultKind


def publish_evaluation(
    fake: FakeRun, step: int, failure: str = "", blank: str = "", kind: ResultKind = "evaluations"
) -> None:
    """Draw and evaluate a step; with `failure` only the reason is published, with `blank` one metric is missing."""
    result = invented_result(fake, step, failure, blank)

    def write(stage: Path) -> None:
        (stage / "result.json").write_bytes(result.to_json())
        (stage / "images").mkdir()
        for sample in result.samples:
            draw_sample(fake, step, sample).save(stage / "images" / sample.image)
            for lookalike in sample.lookalikes.values():
                (stage / "lookalikes").mkdir(exist_ok=True)
                draw_kimono(sample.prompt_id, sample.seed).save(stage / "lookalikes" / lookalike.image)

    manifest = Manifest(kind="evaluation", run_id=fake.record.run_id, step=step)
    publish(fake.run.staging, fake.run.result(kind, step), manifest, write)


def publish_drawings(fake: FakeRun, request: Request) -> None:
    """Carry out a request for pictures with a person's own prompts."""
    step, seed = request.step or 0, SEEDS[0]
    samples = tuple(
        Sample(
            prompt_id=f"asked-{number:02d}",
            prompt=prompt,
            seed=seed + number,
            image=f"{number:03d}-seed-{seed + number}.png",
            batch=0,
            metrics={column.name: 0.25 for column in fake.descriptions.compared_without_references},
        )
        for number, prompt in enumerate(request.prompts)
    )
    result = invented_result(fake, step, "", "").model_copy(update={"samples": samples})

    def write(stage: Path) -> None:
        (stage / "result.json").write_bytes(result.to_json())
        (stage / "images").mkdir()
        for sample in samples:
            draw_shirt(sample.seed).save(stage / "images" / sample.image)

    requests.answer(fake.run, request, "seen", step)
    manifest = Manifest(kind="evaluation", run_id=fake.record.run_id, step=step)
    target = fake.run.result(f"requested/{request.id}", step)
    target.parent.mkdir(parents=True)
    publish(fake.run.staging, target, manifest, write)
    requests.answer(fake.run, request, "done", step)


def invented_result(fake: FakeRun, step: int, failure: str, blank: str) -> EvaluationResult:
    """The invented evaluation of a step."""
    samples = () if failure else tuple(invented_samples(fake, step, blank))
    return EvaluationResult(
        run_id=fake.record.run_id,
        step=step,
        status="failed" if failure else "ok",
        reason=failure,
        training={"epoch": round(step / 12, 3), "loss": 0.08, "learning_rate": 1e-4},
        generation={"dtype": "fp32", "device": "cpu"},
        missing={blank: "no garment found in 3 of 16 pictures"} if blank else {},
        seconds={"swap": 0.02, "generate": 1.4, "score": 0.3},
        samples=samples,
    )


def invented_samples(fake: FakeRun, step: int, blank: str) -> Iterator[Sample]:
    """Prompts × seeds with their numbers."""
    for number, (prompt_id, prompt) in enumerate(PROMPTS.items()):
        for seed in SEEDS:
            luck = random.Random(f"{prompt_id} {seed} {step}").gauss(0, 0.12)
            gain = 0.62 * fake.skill(step) + luck
            metrics: dict[str, float] = {}
            for column, base in fake.base_values():
                share = base if column.role == "loss" else 0.08
                metrics[column.name] = round(base - column.worsening * share * gain, 4)
            metrics |= {column.name: 0.3 * step / fake.steps for column in fake.descriptions.of_role("shown")}
            given = {name: None if name == blank else value for name, value in metrics.items()}
            image = f"{number:02d}-{seed}.png"
            yield Sample(
                prompt_id=prompt_id,
                prompt=prompt,
                seed=seed,
                image=image,
                batch=number // 4,
                metrics=given,
                lookalikes=lookalikes(fake, step) if number == 0 else {},
            )


def lookalikes(fake: FakeRun, step: int) -> dict[str, Lookalike]:
    """In the last third of a run, what the pictures of the first prompt copy."""
    copied = Lookalike(id="kimono/copied-7", image="0007.webp")
    return {column.name: copied for column in fake.descriptions.pointers if step > fake.steps * 2 / 3}


def draw_sample(fake: FakeRun, step: int, sample: Sample) -> Image.Image:
    """Something between a plain grey shirt (what the base draws) and the reference, with grain."""
    target, base = draw_kimono(sample.prompt_id, sample.seed), draw_shirt(sample.seed)
    mixed = Image.blend(base, target, min(1.0, max(0.0, fake.skill(step))))
    grain = Image.effect_noise((SIDE, SIDE), 18).convert("RGB")
    return Image.blend(mixed, grain, 0.06)
