"""LoRAs of small language models of true architectures, trained, killed, resumed and evaluated by the programs."""

from __future__ import annotations

import json
import math
import signal
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from shared.config.loading import own_settings
from shared.config.schema import Config
from shared.errors import ConfigError
from shared.launch.process_group import places
from shared.launch.resume import Resume
from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows
from tasks import publish
from tasks.language_model import adapter, network, task
from tasks.language_model.data import examples as data
from tasks.language_model.data import references
from tasks.language_model.data.tokenizer import Tokenizer
from tasks.language_model.data.tokens import fitting
from tasks.language_model.evaluation import build
from tasks.language_model.network import LanguageModel
from tasks.language_model.settings import Settings
from tasks.language_model.training import held_out_loss
from tasks.language_model.training.held_out_loss import Validation
from tasks.protocol import EvaluationOutput
from tests import tiny_language
from tests.conftest import Warm, check, create_run, open_or_create, until
from tests.published import published, run_card

Trained = Callable[[int], RunDir]
CPU = torch.device("cpu")
STARVED_FROM_STEP_5 = """
import torch
from trainer.learner import Learner
real = Learner._loss
def loss(self, positions):
    if self.step >= 4:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    return real(self, positions)
Learner._loss = loss
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model` and `words.jsonl`."""
    made = tmp_path_factory.mktemp("language")
    tiny_language.write_model(made / "model")
    tiny_language.write_examples(made / "words.jsonl", tiny_language.examples())
    return made


@pytest.fixture(scope="module")
def configured(folder: Path) -> Callable[..., Config]:
    def make(output_dir: Path, **sections: dict[str, object]) -> Config:
        return tiny_language.config(output_dir, folder / "words.jsonl", folder / "model", **sections)

    return make


@pytest.fixture(scope="module")
def trained(warm: Warm, configured: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run that so many processes have trained to its end, six examples a step."""

    def make(processes: int) -> RunDir:
        settings = {"train_batch_size": 6 // processes}
        run = create_run(configured(tmp_path_factory.mktemp(f"ranks-{processes}"), train=settings))
        programs = [warm.start("trainer", run.path, environment=place) for place in places(processes)]
        assert [program.wait() for program in programs] == [0] * processes, programs[0].stderr()
        return run

    return cache(make)


@pytest.fixture(scope="module")
def evaluated(warm: Warm, trained: Trained) -> RunDir:
    warm.run("evaluator", trained(1).path)
    return trained(1)


def answers_of(run: RunDir, step: int) -> dict[str, dict[str, object]]:
    lines = (run.evaluation(step) / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    return {one["id"]: one for one in map(json.loads, lines)}


def test_a_snapshot_is_a_folder_of_peft_and_the_numbers_are_those_of_anybody_who_loads_it(evaluated: RunDir) -> None:
    """The loss of an answer and the answer itself, by transformers, PEFT and its tokenizer alone."""
    assert [row["step"] for row in read_rows(evaluated.validation_csv)] == ["0", "3", "6"]
    assert check(evaluated) == []
    place = evaluated.read_config().model.path
    base = AutoModelForCausalLM.from_pretrained(place)
    model, tokenizer = (
        PeftModel.from_pretrained(base, str(evaluated.snapshot(6))).eval(),
        AutoTokenizer.from_pretrained(place),
    )
    result = evaluated.read_result(6)
    assert result
    told = answers_of(evaluated, 6)
    for one, sample in zip(references.read(evaluated.references), result.samples, strict=True):
        if one.messages:
            said = [{"role": message.role, "content": message.content} for message in one.messages]
            asked = tokenizer.apply_chat_template(said[:-1], tokenize=False, add_generation_prompt=True)
            whole = tokenizer.apply_chat_template(said, tokenize=False)
        else:
            asked, whole = one.prompt, one.prompt + one.completion + tiny_language.END
        prompt, ids = (tokenizer(text, return_tensors="pt").input_ids for text in (asked, whole))
        labels = ids.clone()
        labels[:, : prompt.shape[1]] = -100
        with torch.no_grad():
            expected = model(input_ids=ids, labels=labels).loss.item()
            made = model.generate(input_ids=prompt, max_new_tokens=8, do_sample=False, pad_token_id=256)
        assert sample.metrics["nll"] == pytest.approx(expected, rel=1e-4)
        assert told[one.id]["answer"] == tokenizer.decode(made[0, prompt.shape[1] :], skip_special_tokens=True).strip()


def test_it_is_published_with_code_that_answers(
    evaluated: RunDir, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "words"
    card = published(evaluated, target, monkeypatch)
    (target / "model").symlink_to(folder / "model")
    assert str(folder) not in card + (target / "adapter_config.json").read_text(encoding="utf-8")
    capsys.readouterr()
    run_card(card, target, monkeypatch)
    assert capsys.readouterr().out.strip()
    monkeypatch.setattr(sys, "argv", ["publish", str(evaluated.path), "--to", str(tmp_path / "words.zip")])
    with pytest.raises(ConfigError, match="language model"):
        publish.main()


def test_perplexity_is_of_all_tokens_and_has_an_interval(evaluated: RunDir) -> None:
    told = answers_of(evaluated, 6).values()
    by_hand = math.exp(sum(one["loss_sum"] for one in told) / sum(one["num_tokens"] for one in told))  # type: ignore[misc, arg-type]
    row = next(row for row in read_rows(evaluated.metrics_csv) if row["step"] == "6")
    assert float(row["perplexity"]) == pytest.approx(by_hand)
    assert float(row["perplexity_low"]) <= by_hand <= float(row["perplexity_high"])
    assert float(row["nll_delta"]) < 0, "six steps help a little"


def test_the_same_texts_are_shown_of_every_step_and_the_best_is_confirmed_on_others(evaluated: RunDir) -> None:
    shown = [evaluated.read_result(step).exhibits[0].texts for step in (0, 6)]  # type: ignore[union-attr]
    assert [one.id for one in shown[0]] == [one.id for one in shown[1]] == [*answers_of(evaluated, 6)]
    assert [one.expected for one in shown[0]] == [one.expected for one in shown[1]]
    assert any(one.text != other.text for one, other in zip(*shown, strict=True))
    best = evaluated.read_best()
    assert best
    assert best.confirmation
    assert (best.confirmation.num_prompts, best.confirmation.num_unseen) == (7, 3)
    averaged = max(evaluated.published_averages())
    states = [load_file(evaluated.snapshot(step) / adapter.WEIGHTS) for step in (3, 6, averaged)]
    name = next(name for name in states[0] if name.endswith("q_proj.lora_A.weight"))
    up = name.replace("lora_A", "lora_B")
    exact = sum(state[up].double() @ state[name].double() for state in states[:2]) / 2
    near = states[2][up].double() @ states[2][name].double()
    values = torch.linalg.svdvals(exact)
    assert torch.linalg.norm(exact - near) == pytest.approx(float(values[2:].norm()), abs=1e-6), "the nearest of rank 2"


@pytest.mark.parametrize("processes", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_it_resumes_exactly(
    trained: Trained, warm: Warm, configured: Callable[..., Config], tmp_path: Path, processes: int
) -> None:
    uninterrupted = trained(processes)
    config = configured(tmp_path, train={"train_batch_size": 6 // processes})
    resume = Resume(from_checkpoint=uninterrupted.checkpoint(3))
    run = open_or_create(config, resume, lambda text: None, lambda: None)
    programs = [warm.start("trainer", run.path, environment=place) for place in places(processes)]
    assert [program.wait() for program in programs] == [0] * processes, programs[0].stderr()
    assert steps_in(run.snapshots) == {6}
    same_files(run, uninterrupted, 6)


def test_killed_and_started_again_it_ends_with_the_same_bits(
    warm: Warm, configured: Callable[..., Config], tmp_path: Path
) -> None:
    """With dropout, whose random numbers depend on the step."""
    long = {"max_train_steps": 60, "validation_steps": 60, "snapshot_steps": 20}
    runs = [create_run(configured(tmp_path / name, train=long, lora={"dropout": 0.2})) for name in ("one", "two")]
    assert warm.start("trainer", runs[0].path).wait() == 0
    killed = warm.start("trainer", runs[1].path)
    until(lambda: steps_in(runs[1].checkpoints), "the first checkpoint")
    killed.kill(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert 60 not in steps_in(runs[1].snapshots)
    assert warm.start("trainer", runs[1].path).wait() == 0
    for step in (20, 40, 60):
        same_files(runs[1], runs[0], step)


def test_out_of_memory_it_saves_its_last_step_says_what_to_set_and_resumes(
    trained: Trained, warm: Warm, configured: Callable[..., Config], tmp_path: Path
) -> None:
    run = create_run(configured(tmp_path, train={"train_batch_size": 6}))
    program = warm.start("trainer", run.path, prelude=STARVED_FROM_STEP_5)
    assert program.wait() == 3
    assert "error: out of memory with one example at a time" in program.stderr()
    assert "hint: set train.gradient_checkpointing = true, a smaller language_model" in program.stderr()
    assert "Traceback" not in program.stderr()
    assert max(steps_in(run.checkpoints)) == 4, "no checkpoint was due"
    assert check(run) == []
    assert "resuming after step 4" in warm.run("trainer", run.path).stderr()
    one, expected = (load_file(each.snapshot(6) / adapter.WEIGHTS) for each in (run, trained(1)))
    for name, value in expected.items():
        torch.testing.assert_close(one[name], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_validation_is_exact_for_any_number_of_processes(trained: Trained, processes: int) -> None:
    """7 + 7 examples in batches of two to six: to the last bit what one process measures on the snapshot."""
    run = trained(processes)
    config, record = run.read_config(), run.read_record()
    tokenizer = Tokenizer(Path(config.model.path))
    tokens = fitting(task.scan_again(run, config), tokenizer, own_settings(config, Settings))
    held_out = {name: tokens[name] for name in record.dataset.held_out}
    training = [one.id for one in data.training_examples(data.scan(config), record.dataset.kept_away, config)]
    probe = held_out_loss.choose_probe(training, len(held_out), config.train.seed)
    base = network.load(config.model, {}, torch.float32, CPU)
    module = LanguageModel(adapter.attach(base, config))
    adapter.load(run.snapshot(6), module.network)
    validation = Validation(held_out, {name: tokens[name] for name in probe}, tokenizer.padding)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    measured = validation.measure(module, Accelerator(cpu=True), 6 // processes, lambda done, total: None)
    torch.set_num_threads(threads)
    row = read_rows(run.validation_csv)[-1]
    assert {name: float(row[name]) for name in measured.columns} == measured.columns
    losses = {one["id"]: float(one["loss"]) for one in read_rows(run.validation_examples_csv) if one["step"] == "6"}
    assert losses == {**measured.held_out, **measured.probe}


@pytest.mark.parametrize("kind", ["gpt2", "qwen2"])
def test_another_architecture_learns_and_answers(warm: Warm, folder: Path, tmp_path: Path, kind: str) -> None:
    model = tiny_language.write_model(tmp_path / kind, kind)
    few = {"max_train_steps": 2, "snapshot_steps": 2, "gradient_checkpointing": True, "lora_plus_ratio": 4.0}
    config = tiny_language.config(
        tmp_path, folder / "words.jsonl", model, train=few, language_model={"syntax": "python"}
    )
    run = create_run(config)
    assert warm.start("trainer", run.path).wait() == 0
    before, after = (float(row["held_out_loss"]) for row in read_rows(run.validation_csv))
    assert after != pytest.approx(before, abs=1e-4)
    evaluation = build(run, config, CPU).further()
    for strength, expected in ((1.0, after), (0.0, before)):
        asked = evaluation.at_strength(strength)
        asked.swap(run.snapshot(2))
        output = EvaluationOutput()
        asked.evaluate(2, "evaluations", output)
        losses = [sample.metrics["nll"] or 0.0 for sample in output.samples]
        assert sum(losses) / 7 == pytest.approx(expected, rel=1e-5)
        assert {sample.metrics["valid_syntax"] for sample in output.samples} <= {0.0, 1.0}


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_quantised_on_a_cpu_it_learns_resumes_exactly_and_is_measured_alike(
    trained: Trained, warm: Warm, configured: Callable[..., Config], tmp_path: Path, bits: str
) -> None:
    """By bitsandbytes; the evaluator holds the model in as few bits as the trainer."""
    pytest.importorskip("bitsandbytes")
    config = configured(tmp_path, model={"quantization": bits})
    run = create_run(config)
    warm.run("trainer", run.path)
    losses, whole = ([float(row["loss"]) for row in read_rows(one.train_csv)] for one in (run, trained(1)))
    assert losses == pytest.approx(whole, rel=0.02)
    assert losses != whole, "its weights are rounded"
    learnt, before = (load_file(run.snapshot(step) / adapter.WEIGHTS) for step in (6, 3))
    assert [name for name, value in learnt.items() if torch.equal(value, before[name])] == []
    again = open_or_create(
        config.model_copy(update={"run": config.run.model_copy(update={"name": "again"})}),
        Resume(from_checkpoint=run.checkpoint(3)),
        lambda text: None,
        lambda: None,
    )
    warm.run("trainer", again.path)
    same_files(again, run, 6)
    evaluation = build(run, config, CPU).further().at_strength(1.0)
    evaluation.swap(run.snapshot(6))
    output = EvaluationOutput()
    evaluation.evaluate(6, "evaluations", output)
    measured = sum(sample.metrics["nll"] or 0.0 for sample in output.samples) / 7
    assert measured == pytest.approx(float(read_rows(run.validation_csv)[-1]["held_out_loss"]), rel=1e-5)


def same_files(run: RunDir, other: RunDir, step: int) -> None:
    one, expected = (load_file(each.snapshot(step) / adapter.WEIGHTS) for each in (run, other))
    assert one.keys() == expected.keys()
    assert [name for name in one if not torch.equal(one[name], expected[name])] == []
    described = [(each.snapshot(step) / adapter.DESCRIPTION).read_bytes() for each in (run, other)]
    assert described[0] == described[1]
