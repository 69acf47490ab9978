"""A classifier of real digits, trained, resumed, evaluated and averaged by the programs as they are."""

from __future__ import annotations

import ast
import csv
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification

from shared.config.schema import Config
from shared.files.digests import Digests
from shared.launch.process_group import places
from shared.launch.resume import Resume
from shared.run_folder.heartbeat import read_status
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from tasks.image_classification import figures, network, task
from tasks.image_classification.data import references
from tasks.image_classification.evaluation import build
from tasks.image_classification.training import held_out_loss
from tasks.image_classification.training.held_out_loss import Validation
from tests import few_digits
from tests.conftest import Warm, check, create_run, open_or_create
from tests.published import published, run_card

WEIGHTS = "model.safetensors"
Trained = Callable[[int], RunDir]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return few_digits.write(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def trained(warm: Warm, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run that so many processes have trained to its end, six pictures a step."""

    def make(processes: int) -> RunDir:
        settings = {"train_batch_size": 6 // processes}
        run = create_run(few_digits.config(tmp_path_factory.mktemp(f"ranks-{processes}"), digits, train=settings))
        programs = [warm.start("trainer", run.path, environment=place) for place in places(processes)]
        assert [program.wait() for program in programs] == [0] * processes, programs[0].stderr()
        return run

    return cache(make)


@pytest.fixture(scope="module")
def evaluated(warm: Warm, trained: Trained) -> RunDir:
    warm.run("evaluator", trained(1).path)
    return trained(1)


def probabilities(folder: Path, pictures: list[Image.Image]) -> np.ndarray:
    """As anybody has them who loads a snapshot with transformers."""
    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    pixels = network.Normalization().pixels(torch.from_numpy(np.stack([np.asarray(one) for one in pictures])))
    with torch.no_grad():
        return model(pixel_values=pixels).logits.softmax(dim=1).numpy()


def test_it_learns_and_a_snapshot_is_a_folder_of_transformers_that_names_its_classes(evaluated: RunDir) -> None:
    rows = read_rows(evaluated.validation_csv)
    assert [row["step"] for row in rows] == ["0", "3", "6"]
    one, other = (load_file(evaluated.snapshot(step) / WEIGHTS) for step in (3, 6))
    assert not [name for name in one if torch.equal(one[name], other[name])], "everything learns"
    held_out = [*references.read(evaluated.references), *references.read(evaluated.further_references)]
    assert [one.id for one in held_out] == list(evaluated.read_record().dataset.held_out)
    model = AutoModelForImageClassification.from_pretrained(evaluated.snapshot(6))
    assert model.config.id2label == {0: "0", 1: "1", 2: "2"}
    assert check(evaluated) == []


def test_it_is_published_with_code_that_names_a_class(
    evaluated: RunDir, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "digits"
    card = published(evaluated, target, monkeypatch)
    shutil.copy(next(digits.rglob("*.png")), target / "picture.png")
    capsys.readouterr()
    run_card(card, target, monkeypatch)
    named = ast.literal_eval(capsys.readouterr().out)
    assert {one["label"] for one in named} <= {path.name for path in digits.iterdir()}


def test_its_predictions_are_those_of_its_snapshot_and_the_numbers_follow_from_them(evaluated: RunDir) -> None:
    held_out = references.read(evaluated.references)
    expected = probabilities(evaluated.snapshot(6), [one.picture for one in held_out])
    with (evaluated.evaluation(6) / "predictions.csv").open(newline="") as file:
        told = list(csv.DictReader(file))
    found = np.array([[float(row[f"p({name})"]) for name in few_digits.CLASSES] for row in told])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    right = [row["class"] == row["predicted"] for row in told]
    row = next(row for row in read_rows(evaluated.metrics_csv) if row["step"] == "6")
    assert float(row["accuracy"]) == pytest.approx(np.mean(right))
    classes, guesses = ([few_digits.CLASSES.index(one[name]) for one in told] for name in ("class", "predicted"))
    by_hand = figures.macro(np.array(classes), np.array(guesses), 3)
    for name, value in by_hand.items():
        assert float(row[name]) == pytest.approx(value)
        assert float(row[f"{name}_low"]) <= value <= float(row[f"{name}_high"])


def test_the_mistakes_are_pictures_and_the_confusion_matrix_counts_every_picture(evaluated: RunDir) -> None:
    result = evaluated.read_result(6, "confirmations") or evaluated.read_result(6)
    assert result
    shown = {one.title: one for one in result.exhibits}
    matrix = shown["Confusion matrix"].table
    assert matrix
    cells = np.array(matrix.cells, dtype=float)
    assert cells.sum() == len(result.samples)
    wrong = sum(sample.metrics["accuracy"] == 0 for sample in result.samples)
    pictures = shown["Worst mistakes"].pictures if wrong else ()
    assert len(pictures) == wrong == len(result.samples) - np.trace(cells)
    kind = "confirmations" if evaluated.read_result(6, "confirmations") else "evaluations"
    for one in pictures:
        assert Image.open(evaluated.result(kind, 6) / "images" / one.image).size == (16, 16)


def test_the_best_is_confirmed_on_the_other_held_out_pictures(evaluated: RunDir) -> None:
    best = evaluated.read_best()
    assert best
    assert best.confirmation
    assert (best.confirmation.num_prompts, best.confirmation.num_unseen) == (13, 5)
    assert "the network before training" in best.reason
    averaged = max(evaluated.published_averages())
    before = [load_file(evaluated.snapshot(step) / WEIGHTS) for step in (3, 6)]
    for name, value in load_file(evaluated.snapshot(averaged) / WEIGHTS).items():
        torch.testing.assert_close(value, ((before[0][name].double() + before[1][name]) / 2).to(value.dtype))


@pytest.mark.parametrize("processes", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_it_resumes_exactly(trained: Trained, warm: Warm, digits: Path, tmp_path: Path, processes: int) -> None:
    uninterrupted = trained(processes)
    config = few_digits.config(tmp_path, digits, train={"train_batch_size": 6 // processes})
    resume = Resume(from_checkpoint=uninterrupted.checkpoint(3))
    run = open_or_create(config, resume, lambda text: None, lambda: None)
    programs = [warm.start("trainer", run.path, environment=place) for place in places(processes)]
    assert [program.wait() for program in programs] == [0] * processes, programs[0].stderr()
    assert steps_in(run.snapshots) == {6}
    expected = load_file(uninterrupted.snapshot(6) / WEIGHTS)
    for name, value in load_file(run.snapshot(6) / WEIGHTS).items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_validation_is_exact_for_any_number_of_processes(trained: Trained, processes: int) -> None:
    """13 + 13 pictures in batches of two to six: to the last bit what one process measures on the snapshot."""
    run = trained(processes)
    config = run.read_config()
    pairs = {pair.id: pair for pair in task.scan_again(run, config, Digests(run.path / "digests"))}
    record = run.read_record()
    held_out = [pairs[name] for name in record.dataset.held_out]
    training = [pair for name, pair in pairs.items() if name not in set(record.dataset.held_out)]
    probe = held_out_loss.choose_probe(training, len(held_out), config.train.seed)
    module = network.fresh(config, few_digits.CLASSES, {})
    network.load(run.snapshot(6), module.network)
    validation = Validation(held_out, probe, few_digits.CLASSES, 16, network.Normalization())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    measured = validation.measure(module, Accelerator(cpu=True), 6 // processes, lambda done, total: None)
    torch.set_num_threads(threads)
    row = read_rows(run.validation_csv)[-1]
    assert {name: float(row[name]) for name in measured.columns} == measured.columns
    assert row["num_pictures"] == "13"
    losses = {one["id"]: float(one["loss"]) for one in read_rows(run.validation_examples_csv) if one["step"] == "6"}
    assert losses == {**measured.held_out, **measured.probe}


def test_what_a_lora_has_learnt_is_in_the_snapshot(warm: Warm, digits: Path, tmp_path: Path) -> None:
    arch = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "patch_size": 8,
    }
    own = {"arch": "vit_tiny", "arch_args": arch, "tuning": "lora"}
    settings = few_digits.config(tmp_path, digits, image_classification=own, lora={"rank": 2, "lora_alpha": 2})
    run = create_run(settings)
    warm.run("trainer", run.path)
    before = network.fresh(settings, few_digits.CLASSES, {}).network.state_dict()
    after = load_file(run.snapshot(6) / WEIGHTS)
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert "classifier.weight" in changed
    assert any("query" in name or "q_proj" in name for name in changed)
    assert "vit.embeddings.position_embeddings" not in changed
    row = read_rows(run.validation_csv)[-1]
    evaluation = build(run, settings, torch.device("cpu"))
    evaluation.swap(run.snapshot(6))
    everything = evaluation.further()
    labels = [few_digits.CLASSES.index(one.label) for one in everything.references]
    right = everything._probabilities().argmax(axis=1) == np.array(labels)
    assert right.mean() == pytest.approx(float(row["accuracy"]))


def test_pictures_that_changed_are_refused_and_named(trained: Trained, digits: Path, tmp_path: Path) -> None:
    config: Config = trained(1).read_config()
    copied = tmp_path / "elsewhere"
    for file in sorted(digits.rglob("*.png")):
        (copied / file.relative_to(digits)).parent.mkdir(parents=True, exist_ok=True)
        (copied / file.relative_to(digits)).write_bytes(file.read_bytes())
    moved = config.model_copy(update={"data": config.data.model_copy(update={"path": str(copied)})})
    assert task.moved_settings(trained(1), moved, {"data.path"}) == {"data.path"}
    (copied / "0" / "0000.png").rename(copied / "1" / "0000.png")
    with pytest.raises(Exception, match=r"other pictures or classes(?s:.*)0/0000"):
        task.require_same_data(trained(1), moved)


def test_training_ends_after_passes_without_a_lower_held_out_loss_and_goes_on_with_more_patience(
    warm: Warm, digits: Path, tmp_path: Path
) -> None:
    train = {"max_train_steps": 40, "validation_steps": 2, "learning_rate": 1e-12, "snapshot_steps": 40}
    run = create_run(few_digits.config(tmp_path, digits, train=train, stop={"validation_patience": 2}))
    assert warm.start("trainer", run.path).wait() == 0
    rows = [float(row["held_out_loss"]) for row in read_rows(run.validation_csv)]
    assert len(rows) - 1 - rows.index(min(rows)) == 2
    steps = 2 * (len(rows) - 1)
    assert max(steps_in(run.checkpoints)) == max(steps_in(run.snapshots)) == steps
    status = read_status(run, "trainer")
    assert status
    assert (status.state, status.message) == (
        "stopped",
        "no held-out loss was lower in the last 2 (stop.validation_patience)",
    )
    assert warm.start("trainer", run.path).wait() == 0
    assert len(read_rows(run.train_csv)) == steps, "nothing was learnt by asking again"
