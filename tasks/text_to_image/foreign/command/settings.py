"""The settings of a run whose LoRAs another program trains, from the options of `run.py evaluate`."""

from __future__ import annotations

import contextlib
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from shared.config import path_settings
from shared.config.dumping import dump_config
from shared.config.loading import parse_config
from shared.config.overrides import overlay, parse_overrides
from shared.config.schema import POCKET, RUN_NAME, RUN_NAME_RULE, Config, EvaluationConfig, value_in
from shared.data import edits, sources
from shared.data.sources import ScanReport
from shared.errors import ConfigError, DarkroomError
from shared.files import paths
from tasks.text_to_image import profiles
from tasks.text_to_image.first_config import PLAIN_LETTERS, run_name
from tasks.text_to_image.models import base_model, precheck

PLACES = {"run.name": "--name", "run.output_dir": "--output"}
"""Settings that an option says, because it decides which run is gone on with."""


@dataclass(frozen=True)
class Options:
    """Of the command."""

    base: str
    references: Path | None = None
    prompts: Path | None = None
    train_pictures: Path | None = None
    trigger_word: str = ""
    profile: str = ""
    output: Path = Path("runs")
    name: str = ""
    pattern: str = "*"
    copies: bool = False
    new: bool = False
    overrides: tuple[str, ...] = ()


def run_of(folder: Path, options: Options) -> str:
    """The run's name: the option, or the folder's as it is given, be it a link; one that says nothing takes its
    parent's beside it."""
    return options.name or run_name(_words(folder.absolute()))


def require_place(options: Options) -> None:
    """Whether the run can be called as the command says.

    Raises:
        ConfigError: no command could take a run of that name, or it is said in another way than by the options.
    """
    given, _ = parse_overrides(list(options.overrides))
    for key, option in PLACES.items():
        if value_in(given, key) is not None:
            raise ConfigError(f"{key} cannot be set here", f"give {option} in its place")
    if options.name and not RUN_NAME.fullmatch(options.name):
        raise ConfigError(f"the run would be called {options.name!r}: a name {RUN_NAME_RULE}", "give another --name")


def lost_letters(folder: Path, options: Options) -> bool:
    """Whether the folder's name has letters that a run's cannot have, so that they are missing there."""
    words = unicodedata.normalize("NFKD", _words(folder.absolute()).translate(PLAIN_LETTERS))
    return not options.name and any(letter.isalnum() and not letter.isascii() for letter in words)


def _words(path: Path) -> str:
    usual = {"save", "output", "outputs", "models", "checkpoints", "lora", "loras", "run"}
    path = Path(os.path.normpath(path))
    return f"{path.parent.name}-{path.name}" if path.name.lower() in usual else path.name


def config_of(folder: Path, options: Options, data: Path | str, num_references: int) -> Config:
    """data: where references and training pictures lie. num_references: how many of them are held out.

    Raises:
        ConfigError: a setting is wrong; every problem in one message.
    """
    name = run_of(folder, options)
    tree: dict[str, dict[str, Any]] = {
        "run": {"name": name, "output_dir": str(options.output)},
        "model": {"path": options.base},
        "data": {
            "path": str(data),
            "num_validation": num_references,
            "trigger_word": options.trigger_word,
            "sources": _sources(options),
        },
        "stop": {"rule": "off"},  # nobody here can stop that trainer
        "evaluation": _evaluation(options, num_references),
    }
    given, problems = parse_overrides(list(options.overrides))
    overlay(tree, given)
    faults = path_settings.expand(tree)
    if "resolution" not in tree["data"]:
        tree["data"]["resolution"] = precheck.own_resolution(tree["model"]["path"])
    config = parse_config(tree, [*problems, *faults], "; ".join(dict.fromkeys(faults.values())))
    return path_settings.with_absolute_paths(config, config.run.name or name)


def _sources(options: Options) -> edits.Kind:
    """Whether LoRAs are of an edit model: it draws from sources only, or the references have some."""
    with contextlib.suppress(DarkroomError):  # told where it is checked
        family = base_model.family(options.base)
        if family and family.needs_sources:
            return "files"
        if family and family.most_sources != 0 and options.references:
            pairs = sources.read(options.references, ScanReport())
            return "files" if any(pair.sources for pair in pairs) else "off"
    return "off"


def continued(options: Options, before: Config, data: Path | str | None, num_references: int) -> Config:
    """The settings of a run that is gone on with: its own, but for what is given now.

    options: only what is given. data: where pictures lie, if any are given; num_references: how many are held out.

    Raises:
        ConfigError: a setting is wrong; every problem in one message.
    """
    tree: dict[str, Any] = tomlkit.parse(dump_config(before)).unwrap()
    tree["run"] |= {"name": options.name, "output_dir": str(options.output)}
    if options.base:
        tree["model"]["path"] = options.base
    if options.trigger_word:
        tree["data"]["trigger_word"] = options.trigger_word
    if data is not None:
        tree["data"] |= {"path": str(data), "num_validation": num_references}
    if options.prompts:
        tree["evaluation"]["prompts"] = paths.expand(str(options.prompts))
    if options.profile and options.profile != before.evaluation.profile:
        tree["evaluation"] |= _of_profile(options.profile)
    given, problems = parse_overrides(list(options.overrides))
    overlay(tree, given)
    faults = path_settings.expand(tree)
    config = parse_config(tree, [*problems, *faults], "; ".join(dict.fromkeys(faults.values())))
    return path_settings.with_absolute_paths(config, options.name)


def _of_profile(name: str) -> dict[str, Any]:
    encoders = profiles.PROFILES[name].encoders
    return {"profile": name} | {key.removeprefix("evaluation."): encoder for key, encoder in encoders.items()}


def _evaluation(options: Options, num_references: int) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if num_references:
        usual = EvaluationConfig().num_prompts
        settings |= {"num_prompts": min(usual, num_references)}
    if options.prompts:
        settings["prompts"] = paths.expand(str(options.prompts))
    if options.profile:
        settings |= _of_profile(options.profile)
    if base_model.embedded(options.base):
        settings["fashion_clip"] = POCKET
    return settings
