"""One evaluation, with a studio and a scorer that only pretend: what is published, also when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from evaluator import judge as judging
from evaluator.adapter import AdapterFile
from evaluator.encoder import EncoderRecord
from evaluator.judge import Judge
from evaluator.metrics.exhibit import Exhibit, Row
from evaluator.metrics.gradients import describe
from evaluator.metrics.palette import palette
from evaluator.references import References, load
from evaluator.scorer import Scores
from evaluator.studio import Job
from shared.errors import DataError, ModelError
from shared.publication import publish, verify
from shared.records import Manifest
from shared.rundir import RunDir
from tests.conftest import RunMaker
from tests.unit.evaluator.blind import features_of


@dataclass
class PretendStudio:
    error: Exception | None = None
    swapped: list[Any] = field(default_factory=list)
    expected: Any = None

    def swap(self, adapter: AdapterFile | None) -> None:
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
        self.features, self.metrics = features_of(visual=describe, palette=palette), ("visual", "color")

    def score(self, exhibit: Exhibit) -> Scores:
        assert len(exhibit.references) == len(exhibit.samples) == len(exhibit.prompts)
        rows: list[Row] = [{"color_loss": index / 10, "clip_t": None} for index in range(len(exhibit.samples))]
        return Scores(rows, {"clip_t": "not there"})


@pytest.fixture
def run(make_paper_run: RunMaker) -> RunDir:
    return make_paper_run(evaluation={"num_seeds": 2, "batch_size": 1})


def judge_of(run: RunDir, studio: PretendStudio | None = None) -> Judge:
    config, record = run.read_config(), run.read_record()
    return Judge(run, config, record, load(run, config, record, 8), studio or PretendStudio(), PretendScorer())  # type: ignore[arg-type]


def add_snapshot(run: RunDir, step: int = 2) -> Path:
    details = {"epoch": 0.5, "loss": 0.25, "learning_rate": 1e-4, "rank": 2}
    manifest = Manifest(kind="snapshot", run_id=run.read_record().run_id, step=step, details=details)
    publish(run.staging, run.snapshot(step), manifest, lambda folder: None)
    return run.snapshot(step)


def test_the_base_model_is_drawn_without_an_adapter(run: RunDir) -> None:
    studio = PretendStudio()
    result = judge_of(run, studio).judge(0)
    assert studio.swapped == [None]
    assert (result.status, result.step, result.snapshot_digest, result.training) == ("ok", 0, "", {"epoch": 0})
    assert run.read_result(0) == result
    verify(run.evaluation(0))


def test_a_snapshot_is_judged_with_what_its_manifest_says(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    file = AdapterFile(add_snapshot(run), "digest", {}, 1.0)
    monkeypatch.setattr(judging.adapter, "read", lambda *_: file)
    studio = PretendStudio()
    result = judge_of(run, studio).judge(2)
    assert studio.swapped == [file]
    assert result.training == {"epoch": 0.5, "loss": 0.25, "learning_rate": 1e-4}
    assert result.snapshot_digest == "digest"
    assert set(result.seconds) == {"swap", "generate", "score"}
    assert result.blanks == {"clip_t": "not there"}
    assert result.encoders["clip_t"]["reason"] == "not there"


def test_every_picture_is_kept_and_says_what_it_is(run: RunDir) -> None:
    judge = judge_of(run)
    result = judge.judge(0)
    assert len(result.samples) == 4
    for number, sample in enumerate(result.samples):
        with Image.open(run.evaluation(0) / "images" / sample.image) as picture:
            assert picture.info["prompt"] == sample.prompt == judge.references.prompts[sample.prompt_id]
            assert picture.info["seed"] == str(sample.seed)
            assert picture.info["step"] == "0"
            assert picture.convert("RGB").getpixel((0, 0)) == (sample.seed % 256, 1, 2)
        assert sample.metrics == {"color_loss": number / 10, "clip_t": None}


@pytest.mark.parametrize(
    "error", [ModelError("out of range"), RuntimeError("CUDA out of memory"), ValueError("bad shape"), RuntimeError()]
)
def test_an_evaluation_that_cannot_be_made_is_a_failed_result(run: RunDir, error: Exception) -> None:
    result = judge_of(run, PretendStudio(error)).judge(0)
    assert result.status == "failed"
    assert result.reason == (str(error) or "RuntimeError")
    assert result.samples == ()
    assert run.read_result(0) == result


def test_a_snapshot_that_vanished_or_lost_its_manifest_is_a_failed_result(run: RunDir) -> None:
    assert "has vanished" in judge_of(run).judge(2).reason
    (add_snapshot(run, 4) / "manifest.json").write_bytes(b"{")
    assert "manifest.json is not a record" in judge_of(run).judge(4).reason


def test_a_second_result_of_a_step_is_dropped(run: RunDir) -> None:
    judge = judge_of(run)
    first = judge.judge(0)
    judge.judge(0)
    assert run.read_result(0) == first
    assert list(run.staging.iterdir()) == []


def test_references_are_published_once_and_outlive_the_data_set(
    run: RunDir, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, record = run.read_config(), run.read_record()
    first = load(run, config, record, 8)
    verify(run.references)
    assert list(first.prompts) == list(record.dataset.held_out[:2])
    assert all(picture.size == (32, 32) for picture in first.pictures.values())
    monkeypatch.setattr("evaluator.references.dataset.scan", lambda folder: pytest.fail("read the data set again"))
    second = load(run, config, record, 8)
    assert second.prompts == first.prompts
    assert [picture.tobytes() for picture in second.pictures.values()] == [
        picture.tobytes() for picture in first.pictures.values()
    ]


def test_references_that_can_no_longer_be_made_are_an_error(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluator.references.dataset.scan", lambda folder: [])
    with pytest.raises(DataError, match="held-out pairs are gone"):
        load(run, run.read_config(), run.read_record(), 8)


def test_prompts_keep_the_order_of_the_split() -> None:
    assert list(References({"b": "x", "a": "y"}, {}).prompts) == ["b", "a"]
