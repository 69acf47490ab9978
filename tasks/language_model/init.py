"""`run.py init` for JSON Lines: look at the examples, the model and the memory, and write a config. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tomlkit
from rich.console import Console

from shared.command_name import as_called
from shared.config.loading import load_config, own_settings, parse_config
from shared.config.schema import Config
from shared.data.pictures import SUFFIXES
from shared.data.sources.folder import walk
from shared.data.sources.scan_report import ScanReport
from shared.errors import ConfigError, DataError
from shared.machine import hardware
from tasks import init_options
from tasks.language_model import task
from tasks.language_model.data import examples as data
from tasks.language_model.data.tokenizer import Tokenizer
from tasks.language_model.data.tokens import tokens_of
from tasks.language_model.models import files, precheck
from tasks.language_model.settings import Settings

HELD_OUT_SHARE, MOST_HELD_OUT, MOST_JUDGED = 0.1, 200, 100
LEAST_CONTEXT = 64
PASSES = 3
LOOKED_AT = 20
"""Lines of a file by which it is known."""


def suits(folder: Path) -> str:
    """Why a data set is one of this task; empty where it is not: a folder with pictures is of another."""
    if folder.is_dir():
        found = walk(folder, ScanReport())
        if any(file.suffix.lower() in SUFFIXES for file in found):
            return ""
        lines = [file for file in found if file.suffix.lower() == data.ENDING]
    else:
        lines = [folder] if folder.is_file() and folder.suffix.lower() == data.ENDING else []
    if not lines or not all(map(_has_examples, lines)):
        return ""
    what = f"{lines[0].name} holds" if len(lines) == 1 else f"{len(lines)} files hold"
    return f"{what} texts, conversations, or prompts and completions"


def init(
    folder: Path,
    model: str,
    output: Path | None,
    trigger_word: str,
    prompts: Path | None = None,
    profile: str = "",
    class_word: str = "",
    what: str = "",
    *,
    force: bool,
) -> int:
    """Write the config and say what was found; returns the exit code. model: the model to begin from.

    Raises:
        ConfigError: the file exists already, and `force` is not given; or an option has no meaning here, or there is no
            model.
        DataError, ModelError, DeviceError: examples or model cannot be used.
    """
    console = Console(highlight=False, soft_wrap=True)
    plain = init_options.plain_name(folder, "texts")
    target = init_options.target_of(output, plain, force=force)
    given = {"--trigger-word": trigger_word, "--prompts": prompts, "--profile": profile, "--class-word": class_word}
    given |= {"--what": what}
    init_options.refuse_meaningless(given, "language models")
    if not model:
        raise ConfigError("which language model is to learn is not said", f"give --model: {files.WITH_OTHERS}")
    place = str(Path(model).resolve()) if Path(model).is_dir() else model
    tree: dict[str, Any] = {
        "run": {"task": "language_model"},
        "model": {"path": place},
        "data": {"path": str(folder.resolve())},
    }
    config = parse_config(tree, settings_of=lambda name: Settings)
    found = data.scan(config)
    lengths = sorted(_lengths(config, found))
    console.print(
        f"{len(found)} examples, {sum(lengths)} tokens; half have {lengths[len(lengths) // 2]} or fewer, the longest "
        f"has {lengths[-1]}",
        markup=False,
    )
    text = _render(folder, plain, place, config, lengths)
    init_options.write(target, text)
    config = load_config(target, [], lambda name: Settings)
    task.require_suitable(config)
    for line in precheck.examine(config, with_evaluator=True).sentences():
        console.print(line, markup=False)
    console.print(as_called(f"wrote {target}; read it, then: run.py train {target}"), markup=False)
    return 0


def _has_examples(file: Path) -> bool:
    """Whether its first lines are examples, and none names a picture."""
    try:
        with file.open(encoding="utf-8-sig") as opened:
            lines = [line for _, line in zip(range(LOOKED_AT), opened, strict=False) if line.strip()]
        records = [json.loads(line) for line in lines]
    except (OSError, ValueError):
        return False
    texts = [str(value) for one in records if isinstance(one, dict) for value in one.values() if isinstance(value, str)]
    names_pictures = any(Path(text).suffix.lower() in SUFFIXES for text in texts if len(text) < 256)
    return bool(records) and not names_pictures and all(data.parse(one)[0] for one in records)


def _lengths(config: Config, found: list[data.Example]) -> list[int]:
    tokenizer, settings = Tokenizer(files.find(config.model).folder), own_settings(config, Settings)
    return [len(tokens_of(one, tokenizer, settings).ids) for one in found]


def _render(folder: Path, name: str, model: str, config: Config, lengths: list[int]) -> str:
    count, limit = len(lengths), files.find(config.model).max_positions
    held_out = min(max(4, round(HELD_OUT_SHARE * count)), MOST_HELD_OUT, max(2, count // 3))
    if held_out >= count:
        raise DataError(f"{count} examples are too few to hold some out", "add examples")
    judged = min(max(2, held_out // 2), MOST_JUDGED)
    context = LEAST_CONTEXT
    while context < lengths[-1] and context < (limit or context * 2):
        context *= 2
    context = min(context, limit or context)
    has_gpu = bool(hardware.usable_gpus())
    batch = max(1, min(16 if has_gpu else 8, (count - held_out) // 8))
    updates = max(1, PASSES * (count - held_out) // batch)
    every = max(1, updates // 10)
    document = tomlkit.document()
    document.add(tomlkit.comment(f"Written by `python run.py init` for {count} examples."))
    tables: dict[str, dict[str, tuple[Any, str]]] = {
        "run": {"name": (name, ""), "task": ("language_model", "")},
        "model": {"path": (model, "its LoRA learns")},
        "data": {
            "path": (str(folder), ""),
            "num_validation": (held_out, "of each file by its share"),
        },
        "language_model": {
            "context_length": (context, f"the longest example has {lengths[-1]} tokens"),
            **({"too_long": ("cut", "the model tells no more positions apart")} if lengths[-1] > context else {}),
            "max_new_tokens": (min(128, context), "of an answer at most"),
        },
        "lora": {"rank": (16, ""), "lora_alpha": (32, "")},
        "train": {
            "max_train_epochs": (PASSES, ""),
            "train_batch_size": (batch, ""),
            "learning_rate": (2e-4, "usual for LoRAs of language models (QLoRA, table 9)"),
            "lr_warmup_steps": (min(10, updates // 10), ""),
            "snapshot_steps": (every, "ten in all"),
            "validation_steps": (every, ""),
            "checkpointing_steps": (5 * every, ""),
            **({"gradient_checkpointing": (True, "half the memory, steps take longer")} if has_gpu else {}),
        },
        "evaluation": {
            "num_prompts": (judged, "held-out examples that every snapshot answers"),
            "confirm_prompts": (min(held_out - judged, MOST_JUDGED), "the others confirm the best"),
            "batch_size": (8, ""),
            "strengths": ([], "such as [0.5]: the best is also measured with half of the LoRA"),
        },
    }
    for section, values in tables.items():
        table = tomlkit.table()
        for key, (value, why) in values.items():
            item = tomlkit.item(value)
            table.add(key, item.comment(why) if why else item)
        document.add(section, table)
    return tomlkit.dumps(document)
