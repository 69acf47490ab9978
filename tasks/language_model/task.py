"""What commands need of this task: `shared.launch.task.Task`. Never imports torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from shared.config.loading import own_settings
from shared.config.schema import Config, ModelConfig
from shared.errors import ConfigError, DataError
from shared.launch import relocation
from shared.launch.task import Digest, Plan, Say
from shared.machine.disk import ResultBytes
from shared.machine.doctor import Finding
from shared.run_folder.records.inventory import Inventory, PairRecord
from shared.run_folder.records.run_record import DatasetRecord
from shared.run_folder.run_dir import RunDir
from tasks.language_model import export
from tasks.language_model.data import examples as data
from tasks.language_model.data import references
from tasks.language_model.data.examples import Example
from tasks.language_model.data.tokenizer import Tokenizer
from tasks.language_model.data.tokens import fitting
from tasks.language_model.models import files, precheck
from tasks.language_model.settings import Settings as Settings

ANSWER_BYTES = 2000.0
"""Of one held-out example: its answer and its numbers."""


def plan(config: Config, say: Say) -> Plan:
    """Check every example and the model's files, and choose the held-out examples.

    Raises:
        DataError, ModelError, ConfigError: they cannot be used, or do not suit the settings.
    """
    require_suitable(config)
    identity = files.identify(config)
    everything = data.scan(config)
    tokens = fitting(everything, Tokenizer(files.find(config.model).folder), own_settings(config, Settings), say)
    there = [one for one in everything if one.id in tokens]
    chosen = data.split(there, config)
    training = chosen.training(there, config)
    lengths = [len(tokens[one.id].ids) for one in training]
    say(
        f"{len(training)} examples are trained on, {len(chosen.held_out)} held out"
        + (f", {len(chosen.set_apart)} left out, for they ask what a held-out one asks" if chosen.set_apart else "")
        + f"; they have {sum(lengths)} tokens, {max(lengths)} at most"
    )
    described = DatasetRecord(
        path=config.data.path,
        num_images=len(there),
        fingerprint=data.fingerprint(everything),
        pass_length=len(training),
        held_out=tuple(chosen.held_out),
        set_apart=tuple(chosen.set_apart),
    )

    def fill(run: RunDir, config: Config) -> None:
        pairs = tuple(PairRecord(id=one.id, image=one.digest, caption=_short(one)) for one in everything)
        Inventory(pairs=pairs, example="example").write(run.dataset)
        references.publish_missing(run, config, lambda: there)

    return Plan(described, fill, identity, exports=(export.FORMAT,))


def require_suitable(config: Config) -> None:
    """Check that the settings suit one another, this task and the model.

    Raises:
        ConfigError, ModelError: naming everything that does not.
    """
    settings, evaluation = own_settings(config, Settings), config.evaluation
    problems: dict[str, str] = {}
    if config.data.num_validation < 2:
        problems[
            f"data.num_validation is {config.data.num_validation}, must be at least 2: snapshots are judged on them"
        ] = "set data.num_validation, such as a fifth of the examples"
    left = config.data.num_validation - evaluation.num_prompts
    if evaluation.confirm_prompts and 0 <= left < 2:
        problems[
            f"evaluation.confirm_prompts is {evaluation.confirm_prompts}, but of data.num_validation "
            f"({config.data.num_validation}) evaluation.num_prompts ({evaluation.num_prompts}) leaves {left}: the best "
            "cannot be confirmed on other examples"
        ] = "set evaluation.num_prompts to half of data.num_validation, or evaluation.confirm_prompts = 0"
    if evaluation.prompts:
        problems["evaluation.prompts is set, and snapshots are asked held-out examples only"] = (
            "leave evaluation.prompts out"
        )
    problems |= _of_memory(config)
    if config.train.what != "lora":
        problems[f"train.what is {config.train.what}, which is about base models that draw"] = (
            "leave train.what out: a language model learns by a LoRA"
        )
    if config.lora.init_from:
        problems["lora.init_from is set, which a language model's LoRA cannot begin from"] = "leave lora.init_from out"
    found = files.find(config.model)
    limit = found.max_positions
    if limit and settings.context_length > limit:
        problems[
            f"language_model.context_length is {settings.context_length}, but {config.model.path} tells {limit} "
            "positions apart"
        ] = f"set language_model.context_length = {limit} or less"
    if problems:
        raise ConfigError("\n       ".join(problems), "; ".join(problems.values()))


def _of_memory(config: Config) -> dict[str, str]:
    """Settings that save memory and cannot do so here, and their cures."""
    problems: dict[str, str] = {}
    quantization = config.model.quantization
    if quantization == "fp8":
        problems['model.quantization is "fp8", which language models are not trained in'] = (
            'set model.quantization = "8bit" or "4bit"'
        )
    elif quantization != "none":
        setting = f'model.quantization is "{quantization}"'
        if importlib.util.find_spec("bitsandbytes") is None:
            problems[f"{setting}, and bitsandbytes is not installed"] = "pip install bitsandbytes"
        if config.evaluation.turns:
            problems[f"evaluation.turns is set, and {setting}: such weights cannot leave the GPU"] = (
                "leave evaluation.turns out"
            )
    if config.train.gradient_checkpointing == "offload":
        problems['train.gradient_checkpointing is "offload", which only flow models have'] = (
            "set train.gradient_checkpointing = true"
        )
    if config.model.blocks_to_swap or config.evaluation.blocks_to_swap:
        problems["blocks_to_swap is set, which only models that draw have"] = (
            'leave it out; model.quantization = "4bit" saves memory here'
        )
    return problems


def require_same_data(run: RunDir, config: Config) -> None:
    """Check that the examples are those that the run was created with.

    Raises:
        DataError: some differ; the message names each.
    """
    scan_again(run, config)


def scan_again(run: RunDir, config: Config) -> list[Example]:
    """The examples that the run was made of, wherever their file lies by now.

    Raises:
        DataError: they are not there, or no longer what they were; each that differs is named.
    """
    relocation.require_data(run, config)
    found, inventory = data.scan(config), run.read_inventory()
    if data.fingerprint(found) == run.read_record().dataset.fingerprint or inventory is None:
        return found
    then, now = {one.id: one.image for one in inventory.pairs}, {one.id: one.digest for one in found}
    changes = [
        *(f"changed: {name}" for name in then if name in now and now[name] != then[name]),
        *(f"removed: {name}" for name in then if name not in now),
        *(f"added: {name}" for name in now if name not in then),
    ]
    raise relocation.other_content(config.data.path, "examples", changes)


def moved_settings(run: RunDir, config: Config, changed: Collection[str]) -> set[str]:
    """Of the changed settings those that name another place of the same examples or the same model.

    Raises:
        DataError: other examples lie there.
    """
    return relocation.moved(
        run, changed, lambda: scan_again(run, config), lambda: files.identify(config).get("fingerprint")
    )


def missing_paths(run: RunDir, config: Config) -> dict[str, str]:
    """What the run needs and is not where the config says."""
    return relocation.absent(run, config, "base model")


def changed_content(run: RunDir, config: Config, digest: Digest) -> Iterator[str]:
    """Whether the base model is another one by now."""
    recorded, place = run.read_record().base_model.get("fingerprint"), config.model.path
    if recorded and Path(place).is_dir() and files.identify(config, digest).get("fingerprint") != recorded:
        yield f"the model at {place} is not the one that {run.path} was made with"


def identify(run: RunDir) -> dict[str, str]:
    """The recorded base model."""
    return dict(run.read_record().base_model)


def pinned(run: RunDir, config: Config) -> ModelConfig:
    """The settings that load the very commit of a hub id that the run was made with."""
    commit = run.read_record().base_model.get("commit")
    return config.model.model_copy(update={"revision": commit}) if commit else config.model


def estimate_memory(config: Config, *, with_evaluator: bool) -> tuple[dict[str, Any] | None, list[str]]:
    """Of trainer and evaluator, with a table of what other settings would take.

    Raises:
        DeviceError: one example at a time does not fit.
    """
    found = precheck.examine(config, with_evaluator=with_evaluator)
    return found.record(), found.sentences()


def describe_data(config: Config) -> list[str]:
    """How many examples there are of each form; nothing if they cannot be read: the next reader raises the error."""
    try:
        found = data.scan(config)
    except DataError:
        return []
    return [_forms(found)]


def warnings(run: RunDir, config: Config) -> list[str]:
    """Nothing that the plan has not said."""
    return []


def result_bytes(config: Config) -> ResultBytes:
    """Answers and their numbers."""
    evaluation = config.evaluation
    again = ANSWER_BYTES * config.data.num_validation
    at_the_end = (1 + evaluation.finalists) * again if evaluation.confirm_prompts else 0.0
    return ResultBytes(ANSWER_BYTES * evaluation.num_prompts, at_the_end)


def doctor_checks() -> list[Finding]:
    """Nothing beyond what training of any kind needs."""
    return []


def _forms(found: Sequence[Example]) -> str:
    number = {
        "with prompt and completion": sum(bool(one.completion) for one in found),
        "conversations": sum(bool(one.messages) for one in found),
        "texts": sum(bool(one.text) for one in found),
    }
    return "examples: " + ", ".join(f"{count} {name}" for name, count in number.items() if count)


def _short(one: Example) -> str:
    return " ".join(one.question.split())[: data.SHOWN]
