"""One evaluation, with a image_generator and a scorer that only pretend: what is published, also when it fails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import stats

from evaluator import evaluate as evaluating
from evaluator.evaluate import Evaluator
from evaluator.gpu_memory import LeakDetector
from evaluator.results_table import ResultsTable, publish_descriptions
from shared.errors import DataError, DeviceError, ModelError
from shared.files.publication import publish, verify
from shared.run_folder.records.manifest import Manifest
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows
from tasks.text_to_image.descriptors.gradients import describe
from tasks.text_to_image.descriptors.likeness import lightness
from tasks.text_to_image.descriptors.palette import palette
from tasks.text_to_image.encoders.encoder import EncoderRecord
from tasks.text_to_image.evaluation import snapshot_file
from tasks.text_to_image.evaluation.image_generator import Job
from tasks.text_to_image.evaluation.learnt_lora import LearntLora
from tasks.text_to_image.evaluation.picture_evaluation import PictureEvaluation
from tasks.text_to_image.evaluation.references import References, load
from tasks.text_to_image.evaluation.scorer import Scores, load_scorer
from tasks.text_to_image.evaluation.snapshot_file import AdapterFile
from tasks.text_to_image.evaluation.training_set import TrainingSet
from tasks.text_to_image.metrics import descriptions
from tasks.text_to_image.metrics.losses import color, visual
from tasks.text_to_image.scoring.metric_input import MetricInput, Row
from tests.conftest import RunMaker
from tests.unit.tasks.text_to_image.metrics.blind import features_of


@dataclass
class PretendGenerator:
    error: Exception | None = None
    swapped: list[Any] = field(default_factory=list)
    expected: Any = None
    model: Any = field(default_factory=lambda: SimpleNamespace(size_multiple=8))
    device: Any = field(default_factory=lambda: torch.device("cpu"))

    def swap(self, adapter: AdapterFile | None, strength: float = 1.0) -> None:
        self.swapped.append(adapter)

    def draw(self, wanted: list[Job]) -> Iterator[list[Image.Image]]:
        for job in wanted:
            if self.error:
                raise self.error
            yield [Image.new("RGB", (32, 32), (job.seed % 256, 1, 2))]

    def describe(self) -> dict[str, Any]:
        return {"dtype": "float32"}


class PretendScorer:
    def __init__(self) -> None:
        self.encoders = {"clip_t": EncoderRecord(model="none", reason="not there")}
        self.features, self.metrics = (
            features_of(visual_embedding=describe, garment_palette=palette),
            (visual.METRIC, color.METRIC),
        )

    def score_run(self, references: Sequence[Image.Image | None], metric_input: MetricInput) -> Scores:
        assert len(references) == len(metric_input.samples) == len(metric_input.prompts)
        rows: list[Row] = [{"color_loss": index / 10, "clip_t": None} for index in range(len(metric_input.samples))]
        return Scores(rows, {"clip_t": "not there"})


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run(evaluation={"num_seeds": 2, "batch_size": 1})


def evaluator_of(run: RunDir, image_generator: PretendGenerator | None = None) -> Evaluator:
    config, record = run.read_config(), run.read_record()
    references = load(run, config, 8)
    generator: Any = image_generator or PretendGenerator()
    evaluation = PictureEvaluation(
        run,
        config,
        references,
        generator,
        LearntLora(run, config, generator),
        PretendScorer(),  # type: ignore[arg-type]
        TrainingSet(run, config),
    )
    return Evaluator(run, record, evaluation, LeakDetector())


def add_snapshot(run: RunDir, step: int = 2) -> Path:
    details = {"epoch": 0.5, "loss": 0.25, "learning_rate": 1e-4, "rank": 2}
    manifest = Manifest(kind="snapshot", run_id=run.read_record().run_id, step=step, details=details)
    publish(run.staging, run.snapshot(step), manifest, lambda folder: None)
    return run.snapshot(step)


def test_the_base_model_is_drawn_without_an_adapter(run: RunDir) -> None:
    image_generator = PretendGenerator()
    result = evaluator_of(run, image_generator).evaluate(0)
    assert image_generator.swapped == [None]
    assert (result.status, result.step, result.snapshot_digest, result.training) == ("ok", 0, "", {"epoch": 0})
    assert run.read_result(0) == result
    verify(run.evaluation(0))


def test_a_snapshot_is_evaluated_with_what_its_manifest_says(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    file = AdapterFile(add_snapshot(run), "digest", {}, {})
    monkeypatch.setattr(snapshot_file, "read", lambda *_: file)
    image_generator = PretendGenerator()
    result = evaluator_of(run, image_generator).evaluate(2)
    assert image_generator.swapped == [file]
    assert result.training == {"epoch": 0.5, "loss": 0.25, "learning_rate": 1e-4}
    assert result.snapshot_digest == "digest"
    assert set(result.seconds) == {"swap", "generate", "score"}
    assert result.missing == {"clip_t": "not there"}
    assert result.encoders["clip_t"]["reason"] == "not there"


def test_every_picture_is_kept_and_says_what_it_is(run: RunDir) -> None:
    evaluator = evaluator_of(run)
    result = evaluator.evaluate(0)
    assert len(result.samples) == 4
    for number, sample in enumerate(result.samples):
        with Image.open(run.evaluation(0) / "images" / sample.image) as picture:
            assert picture.info["prompt"] == sample.prompt == evaluator.evaluation.references.prompts[sample.prompt_id]
            assert picture.info["seed"] == str(sample.seed)
            assert picture.info["step"] == "0"
            assert picture.convert("RGB").getpixel((0, 0)) == (sample.seed % 256, 1, 2)
        assert sample.metrics == {"color_loss": number / 10, "clip_t": None}


@pytest.mark.parametrize(
    "error", [ModelError("out of range"), RuntimeError("CUDA out of memory"), ValueError("bad shape"), RuntimeError()]
)
def test_an_evaluation_that_cannot_be_made_is_a_failed_result(run: RunDir, error: Exception) -> None:
    result = evaluator_of(run, PretendGenerator(error)).evaluate(0)
    assert result.status == "failed"
    assert result.reason == (str(error) or "RuntimeError")
    assert result.samples == ()
    assert run.read_result(0) == result


def test_out_of_memory_is_no_result_for_the_patient(run: RunDir) -> None:
    image_generator = PretendGenerator(torch.OutOfMemoryError("CUDA out of memory"))
    assert evaluator_of(run, image_generator).evaluate(0, patient=True) is None
    assert run.read_result(0) is None
    assert list(run.staging.iterdir()) == []
    result = evaluator_of(run, image_generator).evaluate(0)
    assert result
    assert (result.status, result.reason) == ("failed", "CUDA out of memory")


@pytest.mark.parametrize(
    "text", ["CUDA error: unspecified launch failure\nCUDA kernel errors …", "CUDA error: uncorrectable ECC error"]
)
def test_a_gpu_that_has_failed_is_no_result_of_a_snapshot(run: RunDir, text: str) -> None:
    with pytest.raises(DeviceError, match="the GPU has failed: CUDA error: u") as caught:
        evaluator_of(run, PretendGenerator(RuntimeError(text))).evaluate(0)
    assert "kernel errors" not in str(caught.value)
    assert "nvidia-smi" in caught.value.hint
    assert run.read_result(0) is None
    assert list(run.staging.iterdir()) == []


@pytest.mark.parametrize("text", ["CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"])
def test_a_gpu_without_room_has_not_failed(run: RunDir, text: str) -> None:
    assert evaluator_of(run, PretendGenerator(RuntimeError(text))).evaluate(0).status == "failed"


def test_a_result_says_which_pictures_were_drawn_together(make_paper_run: RunMaker) -> None:
    class InPieces(PretendGenerator):
        def draw(self, wanted: list[Job]) -> Iterator[list[Image.Image]]:
            pictures = [picture for batch in super().draw(wanted) for picture in batch]
            yield pictures[:2]
            yield from ([picture] for picture in pictures[2:])

    result = evaluator_of(make_paper_run(evaluation={"num_seeds": 2, "batch_size": 4}), InPieces()).evaluate(0)
    assert result
    assert [sample.batch for sample in result.samples] == [0, 0, 1, 2]


def test_a_result_says_what_memory_the_evaluator_holds(run: RunDir) -> None:
    result = evaluator_of(run).evaluate(0)
    assert result
    assert 50 < result.memory["process_rss_mib"] < 100_000


def test_a_contact_sheet_stands_beside_the_pictures(run: RunDir) -> None:
    evaluator = evaluator_of(run)
    evaluator.evaluate(0)
    with Image.open(run.evaluation(0) / "sheet.webp", formats=["WEBP"]) as sheet:
        assert sheet.size == (3 * 192 + 4, 2 * 192 + 2), "two prompts; their reference and two seeds"
        for row, (prompt_id, reference) in enumerate(evaluator.evaluation.references.pictures.items()):
            tile = sheet.convert("RGB").crop((0, row * 194, 192, row * 194 + 192)).resize((32, 32))
            assert np.abs(np.asarray(tile, float) - np.asarray(reference, float)).mean() < 6, prompt_id


def test_a_snapshot_left_out_is_a_result_without_pictures(run: RunDir) -> None:
    add_snapshot(run)
    evaluating.skip(run, run.read_record(), 2, "evaluation.every is 3")
    result = run.read_result(2)
    assert result
    assert (result.status, result.reason, result.samples) == ("skipped", "evaluation.every is 3", ())
    assert result.training["loss"] == 0.25
    verify(run.evaluation(2))


def test_a_evaluation_takes_the_place_of_having_been_left_out_and_no_other(run: RunDir) -> None:
    evaluating.skip(run, run.read_record(), 0, "evaluation.every is 3")
    evaluated = evaluator_of(run).evaluate(0)
    assert evaluated
    assert evaluated.status == "ok"
    assert run.read_result(0) == evaluated
    verify(run.evaluation(0))
    evaluator_of(run).evaluate(0)
    assert run.read_result(0) == evaluated


@pytest.mark.parametrize("confirm_prompts", [2, 16])
def test_the_final_draws_the_same_prompts_with_new_seeds_and_the_further_ones(
    make_paper_run: RunMaker, confirm_prompts: int
) -> None:
    settings = {"num_seeds": 2, "batch_size": 1, "confirm_prompts": confirm_prompts}
    run = make_paper_run(data={"num_validation": 5}, evaluation=settings)
    evaluator = evaluator_of(run)
    second = evaluator.confirming()
    settings = second.evaluation.config.evaluation
    assert (settings.num_seeds, settings.seed) == (4, 1234 + 2 * 2)
    result = second.evaluate(0)
    assert result
    held_out = run.read_record().dataset.held_out
    assert {sample.prompt_id for sample in result.samples} == set(held_out[: 2 + confirm_prompts])
    assert len(result.samples) == 4 * min(5, 2 + confirm_prompts)
    first = evaluator.evaluate(0)
    assert first
    assert {sample.seed for sample in result.samples}.isdisjoint(sample.seed for sample in first.samples)
    assert result.anchors == {}
    assert run.read_result(0, "confirmations") == result


def test_a_snapshot_that_vanished_or_lost_its_manifest_is_a_failed_result(run: RunDir) -> None:
    assert "no longer exists" in evaluator_of(run).evaluate(2).reason
    (add_snapshot(run, 4) / "manifest.json").write_bytes(b"{")
    assert "manifest.json is not a record" in evaluator_of(run).evaluate(4).reason


def test_a_second_result_of_a_step_is_dropped(run: RunDir) -> None:
    evaluator = evaluator_of(run)
    first = evaluator.evaluate(0)
    evaluator.evaluate(0)
    assert run.read_result(0) == first
    assert list(run.staging.iterdir()) == []


def test_references_are_published_once_and_outlive_the_data_set(
    run: RunDir, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(run.references)
    config, record = run.read_config(), run.read_record()
    first = load(run, config, 8)
    verify(run.references)
    assert list(first.prompts) == list(record.dataset.held_out[:2])
    assert all(picture.size == (32, 32) for picture in first.pictures.values())
    monkeypatch.setattr(
        "tasks.text_to_image.evaluation.references.dataset.scan", lambda folder: pytest.fail("read the data set again")
    )
    second = load(run, config, 8)
    assert second.prompts == first.prompts
    assert [picture.tobytes() for picture in second.pictures.values()] == [
        picture.tobytes() for picture in first.pictures.values()
    ]


def test_references_that_can_no_longer_be_made_are_an_error(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(run.references)
    run.dataset.unlink()  # as in a run of an older version
    monkeypatch.setattr("tasks.text_to_image.evaluation.references.dataset.scan", lambda folder: [])
    with pytest.raises(DataError, match="held-out pairs are gone"):
        load(run, run.read_config(), 8)


def test_prompts_keep_the_order_of_the_split() -> None:
    assert list(References({"b": "x", "a": "y"}, {}).prompts) == ["b", "a"]


class PaintingGenerator(PretendGenerator):
    """Draws noise of its own for every seed, more of it the earlier the snapshot."""

    def draw(self, wanted: list[Job]) -> Iterator[list[Image.Image]]:
        for job in wanted:
            rng = np.random.default_rng([job.seed, len(self.swapped)])
            blocks = rng.integers(60, 200, (4, 4, 3)) // len(self.swapped) + 40
            yield [Image.fromarray(blocks.astype(np.uint8)).resize((32, 32), Image.Resampling.NEAREST)]


@pytest.fixture
def evaluated(make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run whose base model and one snapshot have been evaluated with real metrics."""
    run = make_paper_run(evaluation={"num_seeds": 2, "num_prompts": 3, "batch_size": 1})
    add_snapshot(run)
    monkeypatch.setattr(snapshot_file, "read", lambda *_: AdapterFile(run.snapshot(2), "digest", {}, {}))
    evaluator = evaluator_of(run, PaintingGenerator())
    object.__setattr__(evaluator.evaluation, "scorer", load_scorer("pocket"))
    publish_descriptions(run, descriptions())
    evaluator.evaluate(0)
    evaluator.evaluate(2)
    ResultsTable(run).rebuild()
    return run


def test_a_stranger_recomputes_every_interval_from_the_pictures_rows(evaluated: RunDir) -> None:
    base, after = (pd.read_csv(evaluated.evaluation(step) / "images.csv") for step in (0, 2))
    rows = pd.read_csv(evaluated.metrics_csv).set_index("step")
    table, num_snapshots = rows.loc[2], len(rows) - 1
    for metric in ("visual_loss", "fashion_clip_loss", "color_loss", "clip_t"):
        both = base.merge(after, on=["prompt_id", "prompt", "seed"], suffixes=("_base", ""), validate="one_to_one")
        deltas = (both[metric] - both[f"{metric}_base"]).groupby(both["prompt"]).mean()
        if metric == "color_loss":  # these pictures show no garment
            assert deltas.isna().all()
            assert pd.isna(table[f"{metric}_delta"])
            continue
        interval = stats.ttest_1samp(deltas, 0).confidence_interval(1 - 0.01 / (num_snapshots * 4))
        assert table[f"{metric}_delta"] == pytest.approx(deltas.mean(), rel=1e-9)
        assert (table[f"{metric}_low"], table[f"{metric}_high"]) == pytest.approx((interval.low, interval.high))
    assert table["diversity"] == pytest.approx(after["seed_distance"].mean() / base["seed_distance"].mean())
    assert table["copy_share"] == after["copy_share"].mean()


def test_a_pictures_row_names_its_file_and_holds_the_numbers_to_the_last_bit(evaluated: RunDir) -> None:
    result = evaluated.read_result(2)
    assert result
    rows = read_rows(evaluated.evaluation(2) / "images.csv")
    assert len(rows) == len(result.samples) == 6
    for row, sample in zip(rows, result.samples, strict=True):
        assert (evaluated.evaluation(2) / row["file"]).is_file()
        assert (row["prompt_id"], row["prompt"], row["seed"]) == (sample.prompt_id, sample.prompt, str(sample.seed))
        assert {name: float(row[name]) if row[name] else None for name in sample.metrics} == sample.metrics


class CopyingGenerator(PaintingGenerator):
    """Draws one training picture among others."""

    def __init__(self, original: Image.Image) -> None:
        super().__init__(swapped=[None])
        self.original = original

    def draw(self, wanted: list[Job]) -> Iterator[list[Image.Image]]:
        for number, batch in enumerate(super().draw(wanted)):
            yield batch if number else [self.original]


def test_a_copy_is_published_beside_the_training_picture_it_copies(
    make_paper_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_paper_run(evaluation={"num_seeds": 2, "num_prompts": 3, "batch_size": 1})
    add_snapshot(run)
    monkeypatch.setattr(snapshot_file, "read", lambda *_: AdapterFile(run.snapshot(2), "digest", {}, {}))
    training = TrainingSet(run, run.read_config())
    training.vectors(lightness)
    evaluator = evaluator_of(run, CopyingGenerator(training.picture(5)))
    object.__setattr__(evaluator.evaluation, "scorer", load_scorer("/nowhere", metrics=("copying",)))
    evaluator.evaluate(2)
    result, published = run.read_result(2), run.evaluation(2)
    assert result
    assert [sample.metrics["copy_share"] for sample in result.samples] == [1, 0, 0, 0, 0, 0]
    lookalike = result.samples[0].lookalikes["copy_of"]
    assert lookalike.id == training.pair_id(5)
    assert [sample.lookalikes for sample in result.samples[1:]] == [{}] * 5
    with Image.open(published / "lookalikes" / lookalike.image) as shown:
        assert np.abs(np.asarray(shown.convert("RGB"), float) - np.asarray(training.picture(5), float)).mean() < 10
    assert [row["copy_of"] for row in read_rows(published / "images.csv")] == [lookalike.id, "", "", "", "", ""]
    assert "copy_of" not in result.samples[0].metrics
    assert f"lookalikes/{lookalike.image}" in {entry.name for entry in verify(published).files}


def test_drift_is_measured_from_step_0s_own_pictures(evaluated: RunDir) -> None:
    first, second = evaluated.read_result(0), evaluated.read_result(2)
    assert first
    assert second
    assert [sample.metrics["drift"] for sample in first.samples] == pytest.approx([0] * 6, abs=1e-6)
    assert all((sample.metrics["drift"] or 0) > 1e-4 for sample in second.samples)
    assert (set(first.anchors), second.anchors) == ({"visual_loss", "fashion_clip_loss", "color_loss"}, {})


def test_a_lost_picture_of_step_0_leaves_drift_blank_with_its_reason(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_snapshot(run)
    monkeypatch.setattr(snapshot_file, "read", lambda *_: AdapterFile(run.snapshot(2), "digest", {}, {}))
    evaluator = evaluator_of(run)
    object.__setattr__(evaluator.evaluation, "scorer", load_scorer("/nowhere", metrics=("drift",)))
    result = evaluator.evaluate(2)
    assert result.status == "ok"
    assert result.missing == {"drift": "step 0 has no pictures to compare with"}
