"""Probe prompts: what a LoRA costs, measured beside what is judged and without any effect on it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from evaluator.evaluate import Evaluator
from evaluator.gpu_memory import LeakDetector
from evaluator.results_table import ResultsTable, publish_descriptions
from shared.config.loading import parse_config
from shared.data.captions import with_article
from shared.errors import ConfigError
from shared.files.publication import publish
from shared.run_folder.records.evaluation_result import EvaluationResult
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from tasks.text_to_image.evaluation import snapshot_file
from tasks.text_to_image.evaluation.image_generator import Job
from tasks.text_to_image.evaluation.learnt_lora import LearntLora
from tasks.text_to_image.evaluation.picture_evaluation import PictureEvaluation
from tasks.text_to_image.evaluation.references import load
from tasks.text_to_image.evaluation.scorer import load_scorer
from tasks.text_to_image.evaluation.snapshot_file import AdapterFile
from tasks.text_to_image.evaluation.training_set import TrainingSet
from tasks.text_to_image.metrics import descriptions, metrics_of
from tasks.text_to_image.probes import OF_CLASS, UNRELATED, probe_prompts
from tests.conftest import RunMaker

STRIPES = np.repeat(np.arange(8)[:, None] % 2, 8, axis=1)[..., None] * np.array([255.0, 200.0, 0.0])
"""What a LoRA has learnt: unlike any other picture."""


@dataclass
class Painter:
    """Draws a field of noise of its own for every prompt and seed; a snapshot mixes in what it does to a prompt."""

    moved: dict[str, float]
    """Word of a prompt → share of the picture that a snapshot replaces."""
    adapter: AdapterFile | None = None
    expected: Any = None
    model: Any = field(default_factory=lambda: SimpleNamespace(size_multiple=8))
    device: Any = field(default_factory=lambda: torch.device("cpu"))

    def swap(self, adapter: AdapterFile | None, strength: float = 1.0) -> None:
        self.adapter = adapter

    def draw(self, wanted: list[Job]) -> Iterator[list[Image.Image]]:
        for job in wanted:
            picture = noise(f"{job.prompt} {job.seed}")
            share = max((share for word, share in self.moved.items() if word in job.prompt), default=0.0)
            if self.adapter is not None and share:
                picture = (1 - share) * picture + share * STRIPES
            yield [Image.fromarray(picture.astype(np.uint8)).resize((32, 32), Image.Resampling.NEAREST)]

    def describe(self) -> dict[str, Any]:
        return {}


def noise(text: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
    return np.random.default_rng(seed).integers(0, 255, (8, 8, 3)).astype(float)


def evaluated(make: RunMaker, monkeypatch: pytest.MonkeyPatch, probes: int, **moved: float) -> RunDir:
    """A run with a class word whose base model and one snapshot have been evaluated."""
    settings = {"num_seeds": 1, "num_prompts": 2, "batch_size": 1, "probes": probes, "visual": "gradients"}
    run = make(evaluation={**settings, "fashion_clip": "/nowhere"}, data={"class_word": "dress"})
    config = run.read_config()
    publish(run.staging, run.snapshot(2), Manifest(kind="snapshot", run_id="r", step=2), lambda folder: None)
    monkeypatch.setattr(snapshot_file, "read", lambda *_: AdapterFile(run.snapshot(2), "digest", {}, {}))
    names = tuple(name for name in metrics_of(config) if name in ("visual", "prior", "class_prior"))
    scorer = load_scorer("/nowhere", "gradients", metrics=names)
    painter: Any = Painter(dict(moved))
    evaluation = PictureEvaluation(
        run, config, load(run, config, 8), painter, LearntLora(run, config, painter), scorer, TrainingSet(run, config)
    )
    publish_descriptions(run, descriptions(config))
    evaluator = Evaluator(run, run.read_record(), evaluation, LeakDetector())
    for step in (0, 2):
        evaluator.evaluate(step)
    ResultsTable(run).rebuild()
    return run


def result(run: RunDir, step: int) -> EvaluationResult:
    found = run.read_result(step)
    assert found
    return found


def raised(run: RunDir) -> set[str]:
    best = run.read_best()
    assert best
    return {signal.name for signal in best.signals if signal.raised}


def test_the_base_model_draws_every_probe_twice_and_a_snapshot_once_with_the_first_seed(
    make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = evaluated(make_paper_run, monkeypatch, 3)
    base, snapshot = result(run, 0), result(run, 2)
    assert len(base.probes) == 2 * len(snapshot.probes) == 12
    scored = [(one.prompt_id, one.seed) for one in base.probes if one.metrics]
    assert [(one.prompt_id, one.seed) for one in snapshot.probes] == scored
    assert all(one.metrics.keys() & {"prior_spread", "class_spread"} for one in snapshot.probes)
    assert {one.prompt for one in snapshot.probes} == {
        *UNRELATED[:3], *(text.format(a_class="a dress") for text in OF_CLASS[:3]),
    }  # fmt: skip
    assert all((run.evaluation(2) / "images" / one.image).is_file() for one in snapshot.probes)
    assert [one.metrics.get("prior_drift") for one in snapshot.probes][:3] == pytest.approx([0, 0, 0], abs=1e-9)


def test_probes_change_neither_the_other_pictures_nor_the_composite(
    make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_probes = evaluated(make_paper_run, monkeypatch, 3, dress=0.5)
    shown = [(one.seed, one.metrics, one.image) for one in result(with_probes, 2).samples]
    composite = with_probes.read_best().composite  # type: ignore[union-attr]
    monkeypatch.setattr("tasks.text_to_image.evaluation.probe_pictures.probe_prompts", lambda config: {})
    for step in (0, 2):
        with_probes.evaluation(step).rename(tmp_path / str(step))
    painter: Any = Painter({"dress": 0.5})
    evaluation = PictureEvaluation(
        with_probes,
        with_probes.read_config(),
        load(with_probes, with_probes.read_config(), 8),
        painter,
        LearntLora(with_probes, with_probes.read_config(), painter),
        load_scorer("/nowhere", "gradients", metrics=("visual",)),
        TrainingSet(with_probes, with_probes.read_config()),
    )
    evaluator = Evaluator(with_probes, with_probes.read_record(), evaluation, LeakDetector())
    for step in (0, 2):
        evaluator.evaluate(step)
    ResultsTable(with_probes).rebuild()
    assert not result(with_probes, 2).probes
    assert [(one.seed, one.metrics, one.image) for one in result(with_probes, 2).samples] == shown
    assert with_probes.read_best().composite == composite  # type: ignore[union-attr]


def test_a_lora_that_draws_other_pictures_of_the_class_raises_the_sign_and_of_nothing_else_does_not(
    make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = evaluated(make_paper_run, monkeypatch, 4, dress=1.0)
    best = run.read_best()
    assert best
    assert raised(run) == {"spillover"}
    header = run.read_metric_descriptions().header
    assert {"prior_price", "class_price"} <= set(header)
    row = run.metrics_csv.read_text().splitlines()[-1].split(",")
    assert float(row[header.index("prior_price")]) == pytest.approx(0, abs=1e-9)
    assert float(row[header.index("class_price")]) > 1
    (spilt,) = [signal for signal in best.signals if signal.name == "spillover"]
    assert "the class word without the trigger word are further from the base model's" in spilt.evidence


def test_probes_are_left_out_where_the_base_model_was_evaluated_without_them(
    make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = evaluated(make_paper_run, monkeypatch, 2)
    base = result(run, 0)
    monkeypatch.setattr(RunDir, "read_result", lambda *_: base.model_copy(update={"probes": ()}))
    probes: Any = PictureEvaluation(
        run, run.read_config(), load(run, run.read_config(), 8), Painter({}), None, None, None,  # type: ignore[arg-type]
    )._probes  # fmt: skip
    assert probes.draw(2) == {}
    assert len(probes.draw(0)) == 8


def test_without_a_class_word_only_unrelated_prompts_are_drawn_and_0_draws_none() -> None:
    def planned(**data: str) -> dict[Any, Any]:
        return probe_prompts(parse_config({"data": {"path": "p", **data}, "evaluation": {"probes": 2}}))

    assert list(planned()) == ["unrelated"]
    assert next(iter(planned(class_word="apron")["class"].values())) == "a photo of an apron"
    assert probe_prompts(parse_config({"data": {"path": "p"}})) == {}
    with pytest.raises(ConfigError, match=r"evaluation\.probes is 1, must be 0, or at least 2"):
        parse_config({"data": {"path": "p"}, "evaluation": {"probes": 1}})
    assert with_article("the Eiffel tower") == "the Eiffel tower"
