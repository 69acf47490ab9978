"""`run.py init` for folders of classes: look at the pictures, and write a config. Never imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomlkit
from rich.console import Console

from shared.command_name import as_called
from shared.config.loading import load_config, parse_config
from shared.data.pictures import upright_size
from shared.data.sources import KOHYA_FOLDER
from shared.data.sources.pair import Pair
from shared.machine import hardware
from tasks import init_options
from tasks.image_classification import task
from tasks.image_classification.data import labelled
from tasks.image_classification.settings import Settings

HELD_OUT_SHARE = 0.2
MOST_JUDGED = 500
SMALL_SIDE, USUAL_SIDE = 64, 224


def suits(folder: Path) -> str:
    """Why a data set is one of this task; empty where it is not: captions make it one of another."""
    if not labelled.is_folder_of_classes(folder):
        return ""
    names = labelled.folders_of_classes(folder)
    if any(KOHYA_FOLDER.fullmatch(name) for name in names):
        return ""
    shown = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
    return f"its pictures have no captions and lie in {len(names)} folders, which would be classes: {shown}"


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
    """Write the config and say what was found; returns the exit code. model: weights to begin from; may be empty.

    Raises:
        ConfigError: the file exists already, and `force` is not given; or an option has no meaning here.
        DataError: the pictures cannot be used.
    """
    console = Console(highlight=False, soft_wrap=True)
    plain = init_options.plain_name(folder, "classes")
    target = init_options.target_of(output, plain, force=force)
    given = {"--trigger-word": trigger_word, "--prompts": prompts, "--profile": profile, "--class-word": class_word}
    given |= {"--what": what}
    init_options.refuse_meaningless(given, "image classification")
    tree: dict[str, Any] = {"run": {"task": "image_classification"}, "data": {"path": str(folder.resolve())}}
    pairs = labelled.scan(parse_config(tree, settings_of=lambda name: Settings))
    console.print(
        f"{len(pairs)} pictures of {len(labelled.classes_of(pairs))} classes: {labelled.counts(pairs)}", markup=False
    )
    side = _side([pair.image for pair in pairs])
    split = labelled.split_of(str(folder), pairs)
    text = _render(folder, plain, model, pairs, split, side)
    init_options.write(target, text)
    config = load_config(target, [], lambda name: Settings)
    task.require_suitable(config)
    console.print(as_called(f"wrote {target}; read it, then: run.py train {target}"), markup=False)
    return 0


def _side(images: list[Path]) -> int:
    """Of the square that the network sees: pictures of icons' size are not blown up to photographs'."""
    sides = sorted(max(upright_size(image)) for image in images[:: max(1, len(images) // 50)])
    middle = sides[len(sides) // 2]
    return USUAL_SIDE if middle > SMALL_SIDE else max(32, -(-middle // 32) * 32)


def _render(folder: Path, name: str, model: str, pairs: list[Pair], split: labelled.Split | None, side: int) -> str:
    num_pictures = len(pairs) - len(split.test if split else ())
    held_out = len(split.validation) if split else max(2, round(HELD_OUT_SHARE * num_pictures))
    why = "all of its folder for validation" if split else "a fifth, each class by its share"
    judged = min(max(2, held_out // 2), MOST_JUDGED)
    has_gpu = bool(hardware.usable_gpus())
    batch = min(64 if has_gpu else 32, max(2, (num_pictures - held_out) // 4))
    document = tomlkit.document()
    document.add(tomlkit.comment(f"Written by `python run.py init` for {num_pictures} pictures in folders of classes."))
    tables: dict[str, dict[str, tuple[Any, str]]] = {
        "run": {"name": (name, ""), "task": ("image_classification", "a folder for each class")},
        **({"model": {"path": (model, "weights to begin from")}} if model else {}),
        "data": {
            "path": (str(folder), ""),
            "num_validation": (held_out, why),
        },
        "image_classification": {
            "arch": ("resnet18", "docs/image-classification.md lists others"),
            "img_size": (side, "of the usual picture" if side != USUAL_SIDE else "what networks are made for"),
            "random_crop": (0.7, "parts of a picture are further examples"),
        },
        "train": {
            "max_train_epochs": (20, ""),
            "train_batch_size": (batch, ""),
            "optimizer": ("adamw", ""),
            "learning_rate": (1e-4 if model else 1e-3, "small, for the weights are good already" if model else ""),
            "lr_final_fraction": (0.01, ""),
            "weight_decay": (0.05, ""),
            "snapshot_steps": ("1 epochs", ""),
            "validation_steps": (max(1, (num_pictures - held_out) // batch), "an epoch"),
            "checkpointing_steps": ("5 epochs", ""),
        },
        "evaluation": {
            "num_prompts": (judged, "held-out pictures that every snapshot is judged on"),
            "confirm_prompts": (min(held_out - judged, MOST_JUDGED), "the others confirm the best"),
            "batch_size": (64, ""),
            "strengths": ([], "a network has none"),
        },
    }
    for section, values in tables.items():
        table = tomlkit.table()
        for key, (value, why) in values.items():
            item = tomlkit.item(value)
            table.add(key, item.comment(why) if why else item)
        document.add(section, table)
    return tomlkit.dumps(document)
