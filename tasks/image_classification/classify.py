"""`run.py classify`: the command line of an earlier trainer of image classifiers, as a config. Never imports torch.

`--lr0` and `--lrf` are meant as in the scripts that they come from: the rate falls from lr0 to lr0 × lrf along half a
cosine. `--early_stopping N` ends training after N epochs without a lower held-out loss; it is measured in each epoch.
"""

from __future__ import annotations

import argparse
import math
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import tomlkit

from shared.config.loading import load_config, parse_config
from shared.data.sources.pair import Pair
from shared.errors import ConfigError, DarkroomError, writing
from shared.files.new_folder import new_folder
from shared.files.publication import MANIFEST
from shared.files.replacing import replace_file
from shared.followers import trackers
from shared.machine import hardware
from shared.run_folder.run_dir import RunDir
from tasks.image_classification import task
from tasks.image_classification.data import labelled
from tasks.image_classification.settings import Settings

VALIDATION_SHARE = 0.2
MOST_JUDGED = 500
"""Held-out pictures that every snapshot is judged on; as many others confirm the best."""
OPTIMIZERS = {"sgd": {"momentum": 0.9}, "adam": {}, "adamw": {}}
"""Name → arguments that its usual trainers give it."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"classify: {message}", "see `python run.py classify --help`")


@dataclass
class Translation:
    """A config, and what a person should know of it."""

    tree: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    notes: list[str] = field(default_factory=list[str])
    auto_resume: bool = True
    config: str = ""
    """Where it is written; empty: `NAME.toml` in the current folder."""
    create_only: bool = False
    dashboard: bool = True
    model_path: str = ""
    """Where the best network is to be copied to; empty: nowhere."""
    environment: dict[str, str] = field(default_factory=dict[str, str])
    """What trackers are told: an address may hold a password, so it is in no file."""

    def set(self, key: str, value: Any) -> None:
        """A setting by its key path."""
        section, _, name = key.partition(".")
        self.tree.setdefault(section, {})[name] = value


def translate(words: Sequence[str]) -> Translation:
    """The config that a command line asks for.

    Raises:
        ConfigError: options are unknown or wrong; every problem in one message.
        DataError: the pictures cannot be counted.
    """
    given, found = parser().parse_args(words), Translation()
    _require(given)
    found.auto_resume, found.model_path, found.config = given.auto_resume, given.model_path, given.config
    found.create_only, found.dashboard = given.create_only, given.dashboard
    name = "-".join(_plain(part) for part in (given.project_name, given.task_name) if part) or "classify"
    found.set("run.name", name)
    found.set("run.task", "image_classification")
    found.set("run.output_dir", given.output_dir)
    found.set("data.path", given.data_path)
    _network(found, given)
    _data(found, given)
    _training(found, given)
    _tracking(found, given)
    return found


def write(words: Sequence[str], say: Callable[[str], object]) -> tuple[Path, Translation]:
    """Write the config and check it; a file that is there keeps its place where settings are wrong.

    Raises:
        ConfigError: as in `translate`; or a setting is wrong, or MLflow is not installed.
    """
    found = translate(words)
    trackers.require(found.tree["run"].get("trackers", ()), "--mlflow_tracking_uri")
    path = Path(found.config or f"{found.tree['run']['name']}.toml")
    document = tomlkit.document()
    document.add(tomlkit.comment("Written by `python run.py classify " + " ".join(_without_address(words)) + "`."))
    for note in found.notes:
        document.add(tomlkit.comment(note))
    for section, table in found.tree.items():
        document.add(section, tomlkit.item(table))
    before = path.read_bytes() if path.exists() else None
    with writing("--config", path):
        replace_file(path, tomlkit.dumps(document).encode())
    try:
        task.require_suitable(load_config(path, [], lambda name: Settings))
    except DarkroomError:
        if before is None:
            path.unlink()
        else:
            replace_file(path, before)
        raise
    say(f"wrote {path}: what these options mean as settings; `python run.py train {path}` does the same")
    for note in found.notes:
        say(note)
    return path, found


def deliver(run: RunDir, target: Path, say: Callable[[str], object]) -> None:
    """Copy the snapshot to ship to a folder of its own, whole or not at all.

    Raises:
        ConfigError: the folder cannot be written.
    """
    best = run.read_best()
    if best is None:
        say(f"nothing was evaluated, so there is no best snapshot to copy to {target}")
        return
    with writing("--model_path", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(target) as stage:
            shutil.copytree(run.path / best.snapshot, stage, ignore=shutil.ignore_patterns(MANIFEST))
    say(f"copied {best.snapshot} to {target}")


def parser() -> argparse.ArgumentParser:
    """Its options."""
    known = _Parser(prog="python run.py classify", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    add = known.add_argument
    add("--data_path", required=True, metavar="PATH", help="a folder for each class, or a table of paths and classes")
    add("--arch", default="resnet18", help="the network")
    add("--pretrained", action=argparse.BooleanOptionalAction, default=False, help="begin from its usual weights")
    add("--batch_size", type=int, default=64, help="pictures of one update, over all devices")
    add("--epochs", type=float, default=20.0, help="passes over the pictures")
    add("--lr0", type=float, default=0.01, help="first learning rate")
    add("--lrf", type=float, default=0.01, help="last learning rate, as a share of the first")
    add("--wd", type=float, default=5e-4, help="weight decay")
    add("--optimizer", default="SGD", help="SGD, Adam or AdamW")
    add("--img_size", type=int, default=224, help="side of the pictures")
    add("--train_size", type=float, help="share, or number, of the pictures to train on")
    add("--val_size", type=float, help=f"share, or number, of the pictures held out; {VALIDATION_SHARE}")
    add("--label_smoothing", type=float, default=0.0, help="of the loss")
    add("--class_weights", action="store_true", help="weigh every class alike")
    add("--lora", action="store_true", help="train a LoRA")
    add("--device", default="", help="0,1: how many processes; cpu")
    add("--distributed", action="store_true", help="several processes")
    add("--amp", action=argparse.BooleanOptionalAction, default=True, help="mixed precision")
    add("--seed", type=int, default=0, help="of everything random")
    add("--early_stopping", type=int, default=0, metavar="EPOCHS", help="without a lower held-out loss; 0: no limit")
    add("--load_model", default="", metavar="PATH", help="weights to begin from: a folder, .pth or .safetensors")
    add("--auto_resume", "--auto-resume", action="store_true", default=True, dest="auto_resume")
    add("--no_auto_resume", "--no-auto-resume", action="store_false", dest="auto_resume")
    add("--project_name", default="", help="first part of the run's name; MLflow's experiment")
    add("--task_name", default="", help="second part of the run's name")
    add("--model_path", default="", metavar="PATH", help="where the best network is copied to at the end")
    add("--output_dir", default="runs", metavar="PATH", help="folder of run folders")
    add("--config", default="", metavar="FILE", help="where the config is written; NAME.toml when absent")
    add("--create_only", "--create-only", action="store_true", help="make the run folder and start nothing")
    add("--dashboard", action=argparse.BooleanOptionalAction, default=True, help="serve the dashboard")
    add("--mlflow_tracking_uri", default="", metavar="URI", help="MLflow's address: it gets the run")
    add("--disable_mlflow", action="store_true", help="MLflow gets nothing")
    add("--skip_mlflow_model_upload", action="store_true", help="MLflow gets no network")
    return known


def _require(given: argparse.Namespace) -> None:
    problems = [
        *(
            [f"--optimizer is {given.optimizer}, must be SGD, Adam or AdamW"]
            if given.optimizer.lower() not in OPTIMIZERS
            else []
        ),
        *([f"--lr0 is {given.lr0:g}, must be greater than 0"] if not 0 < given.lr0 < math.inf else []),
        *([f"--lrf is {given.lrf:g}, must be from 0 to 1"] if not 0 <= given.lrf <= 1 else []),
        *([f"--epochs is {given.epochs:g}, must be greater than 0"] if not 0 < given.epochs < math.inf else []),
        *([f"--batch_size is {given.batch_size}, must be at least 2"] if given.batch_size < 2 else []),
        *([f"--early_stopping is {given.early_stopping}, must be 0 or more"] if given.early_stopping < 0 else []),
        *(
            [f"--device is {given.device}, must be cpu or numbers of GPUs such as 0,1"]
            if not re.fullmatch(r"|cpu|cuda|\d+(,\d+)*", given.device)
            else []
        ),
        *(
            f"--{name} is {value:g}, must be a share between 0 and 1 or a number of pictures"
            for name in ("train_size", "val_size")
            if (value := getattr(given, name)) is not None
            and not (0 < value < 1 or (value >= 1 and value == int(value)))
        ),
    ]
    if given.model_path and Path(given.model_path).exists():
        problems.append(f"--model_path {given.model_path} exists")
    if problems:
        raise ConfigError("\n       ".join(problems), "see `python run.py classify --help`")


def _network(found: Translation, given: argparse.Namespace) -> None:
    found.set("image_classification.arch", given.arch)
    found.set("image_classification.img_size", given.img_size)
    if given.load_model:
        found.set("model.path", given.load_model)
        if given.pretrained:
            found.notes.append("--pretrained: --load_model says what to begin from")
    elif given.pretrained:
        found.set("image_classification.pretrained", value=True)
    if given.label_smoothing:
        found.set("image_classification.label_smoothing", given.label_smoothing)
    if given.class_weights:
        found.set("image_classification.class_weights", "balanced")
    if given.lora:
        found.set("image_classification.tuning", "lora")
    if not given.amp:
        found.set("model.mixed_precision", "no")


def _data(found: Translation, given: argparse.Namespace) -> None:
    """The numbers of pictures that shares come to, and of those that every snapshot is judged on."""
    pairs = _pairs(given)
    split = labelled.split_of(given.data_path, pairs)
    usual = len(split.validation) if split else VALIDATION_SHARE
    held_out = _count(given.val_size if given.val_size is not None else usual, len(pairs))
    if split and given.val_size is None:
        found.notes.append(f"--data_path {given.data_path}: its folder for validation is held out, {held_out} pictures")
    away = len(split.not_trained_on) if split else held_out
    judged = min(max(2, held_out // 2), MOST_JUDGED)
    found.set("data.num_validation", held_out)
    found.set("evaluation.num_prompts", judged)
    found.set("evaluation.confirm_prompts", min(held_out - judged, MOST_JUDGED))
    found.set("evaluation.batch_size", 64)
    found.set("evaluation.strengths", [])
    if given.train_size is not None:
        found.set("data.train_size", _count(given.train_size, len(pairs)))
    found.tree["_"] = {"pictures": _count(given.train_size or len(pairs) - away, len(pairs))}


def _pairs(given: argparse.Namespace) -> list[Pair]:
    tree = {
        "run": {"task": "image_classification"},
        "data": {"path": str(Path(given.data_path).expanduser().resolve())},
    }
    return labelled.scan(parse_config(tree, settings_of=lambda task: Settings))


def _count(size: float, num_pictures: int) -> int:
    return max(2, round(size * num_pictures)) if size < 1 else int(size)


def _training(found: Translation, given: argparse.Namespace) -> None:
    devices = given.device.split(",") if given.device not in ("", "cpu", "cuda") else [""]
    processes = len(devices) if given.distributed or len(devices) > 1 else 1
    if given.distributed and processes == 1:
        found.notes.append("--distributed: --device names one device, so one process trains")
    if processes > 1 and devices != [str(number) for number in range(processes)]:
        visible = ",".join(devices)
        found.notes.append(
            f"--device {visible}: set CUDA_VISIBLE_DEVICES={visible}; processes take the first GPUs there are"
        )
    if devices != [""] and (lacking := _without_gpu(len(devices))):
        found.notes.append(f"--device {given.device}: {lacking}")
    each = max(2, given.batch_size // processes)
    if each * processes != given.batch_size:
        found.notes.append(
            f"--batch_size {given.batch_size}: {processes} processes take {each} each, {each * processes} in all"
        )
    updates = max(1, math.ceil(found.tree.pop("_")["pictures"] / (each * processes)))
    optimizer = given.optimizer.lower()
    settings: dict[str, Any] = {
        "max_train_epochs": given.epochs,
        "train_batch_size": each,
        "num_processes": processes,
        "optimizer": optimizer,
        **({"optimizer_args": OPTIMIZERS[optimizer]} if OPTIMIZERS[optimizer] else {}),
        "learning_rate": given.lr0,
        "lr_scheduler": "cosine",
        "lr_final_fraction": given.lrf,
        "weight_decay": given.wd,
        "snapshot_steps": updates,
        "validation_steps": updates,
        "checkpointing_steps": updates,
        "seed": given.seed,
    }
    for name, value in settings.items():
        found.set(f"train.{name}", value)
    if given.early_stopping:
        found.set("stop.validation_patience", given.early_stopping)


def _without_gpu(named: int) -> str:
    """What becomes of processes that there is no GPU for; empty where there are enough. named: how many are."""
    gpus = len(hardware.usable_gpus())
    if gpus >= named:
        return ""
    if gpus:
        return f"this machine has {gpus} of {named} GPUs, and each process needs one: name fewer, or train elsewhere"
    each = "one process trains" if named == 1 else f"{named} processes train"
    return f"this machine has no GPU that can be used, so {each} on its CPU"


def _tracking(found: Translation, given: argparse.Namespace) -> None:
    """MLflow gets the run where its address is given; the project is the experiment there."""
    if given.project_name:
        found.set("run.project", _plain(given.project_name) or found.tree["run"]["name"])
    if not given.mlflow_tracking_uri:
        return
    if given.disable_mlflow:
        found.notes.append("--disable_mlflow: MLflow gets nothing, whatever --mlflow_tracking_uri says")
        return
    found.environment["MLFLOW_TRACKING_URI"] = given.mlflow_tracking_uri
    found.set("run.trackers", ["mlflow"])
    if given.skip_mlflow_model_upload:
        found.set("run.skip_model_upload", value=True)
    found.notes.append(
        "--mlflow_tracking_uri: it is not written down, because an address may hold a password: set MLFLOW_TRACKING_URI"
        " for `run.py train` and `run.py track`"
    )


def _without_address(words: Sequence[str]) -> list[str]:
    """The command line without MLflow's address."""
    option, kept = "--mlflow_tracking_uri", list[str]()
    for place, word in enumerate(words):
        if word == option or word.startswith(f"{option}=") or (place and words[place - 1] == option):
            continue
        kept.append(word)
    return kept


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")
