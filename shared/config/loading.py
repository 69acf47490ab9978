"""Settings from a TOML file and overrides; every problem of both is reported at once.

Precedence: the defaults in `shared.config.sections` < the TOML file < overrides.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tomlkit
from pydantic import ValidationError
from tomlkit.exceptions import TOMLKitError

from shared.config import path_settings
from shared.config.overrides import overlay, parse_overrides, two_ends
from shared.config.problems import problems_of
from shared.config.schema import (
    RUN_NAME,
    RUN_NAME_RULE,
    Config,
    DashboardConfig,
    UncheckedSettings,
    config_type,
    own_table,
    sections,
    value_in,
)
from shared.config.sections.base import Section
from shared.config.sections.run import TASK_NAME
from shared.errors import ConfigError
from shared.files import paths

SettingsOf = Callable[[str], type[Section] | None]
"""A task's name → the model of its own settings; raises ConfigError if there is no such task."""
OwnSettings = TypeVar("OwnSettings", bound=Section)
OTHER_FORMATS = {".yaml": "YAML", ".yml": "YAML", ".json": "JSON", ".ini": "INI", ".cfg": "INI", ".py": "Python"}


def load_config(path: Path, overrides: list[str] | None = None, settings_of: SettingsOf | None = None) -> Config:
    """Read a TOML file, apply `key.sub=value` overrides, validate.

    Relative paths are meant from the current folder, as on any command line, and come out absolute; `~` is the home
    folder. That of `evaluation.prompts` in the file is meant from the file's folder. settings_of: as in `parse_config`.

    Raises:
        ConfigError: the file cannot be read, or any key or value is wrong; all problems in one message.
    """
    tree = read_toml(path)
    path_settings.beside(tree, path.parent)
    given, problems = parse_overrides(overrides or [])
    is_of_a_run = (path.parent / "run.json").is_file()  # its config.toml has the steps computed from the epochs, too
    problems += two_ends(given) or ([] if is_of_a_run else two_ends(tree))
    overlay(tree, given)
    faults = path_settings.expand(tree)
    name = value_in(tree, "run.name") or path.stem
    if isinstance(name, str) and not RUN_NAME.fullmatch(name):
        from_file = "" if value_in(tree, "run.name") else "taken from the file's name; set run.name: it "
        problems.append(f"run.name is {name!r}, {from_file}{RUN_NAME_RULE}")
    config = parse_config(tree, [*problems, *faults], "; ".join(dict.fromkeys(faults.values())), settings_of)
    return path_settings.with_absolute_paths(config, name)


def parse_config(
    tree: dict[str, Any], problems: Sequence[str] = (), cure: str = "", settings_of: SettingsOf | None = None
) -> Config:
    """Validate a plain tree of settings. problems: those known already, which join the error; cure: theirs.

    settings_of: checks the task's own table. None: it is taken as it is, for a run folder holds what was checked.

    Raises:
        ConfigError: with every problem on a line of its own.
    """
    problems = list(problems)
    try:
        kind = _kind(tree, settings_of)
    except ConfigError as error:
        kind, cure = Config, cure or error.hint
        problems.append(str(error))
        tree = {key: value for key, value in tree.items() if key != _own_table(tree)}
    if kind is not Config:
        tree = {_own_table(tree): {}, **tree}
    problems += problems_of(tree, kind)
    if problems:
        hint = "see docs/configuration.md for every key, its unit and default"
        raise ConfigError("\n       ".join(problems), cure or hint)
    return kind.model_validate(tree)


def own_settings(config: Config, settings: type[OwnSettings]) -> OwnSettings:
    """The settings of the run's task, as the model that the task has for them.

    Raises:
        ConfigError: with every problem on a line of its own.
    """
    own, table = config.own, own_table(config.run.task)
    if isinstance(own, settings):
        return own
    tree = {"run": {"task": config.run.task}, "data": {"path": ""}, table: own.model_dump() if own else {}}
    return getattr(parse_config(tree, settings_of=lambda _: settings), table)


def _kind(tree: dict[str, Any], settings_of: SettingsOf | None) -> type[Config]:
    """The settings that a run of this task has.

    Raises:
        ConfigError: there is no such task, or its table would be one of Darkroom's own.
    """
    task, table = value_in(tree, "run.task"), _own_table(tree)
    if not table:
        return Config
    if settings_of is None:
        return config_type(table, UncheckedSettings) if table in tree.keys() - sections().keys() else Config
    settings = settings_of(task)
    if settings and table in sections():
        raise ConfigError(
            f"run.task is {task!r}, and the table of its settings would be [{table}], which Darkroom has already",
            "rename the package of the task",
        )
    return config_type(table, settings) if settings else Config


def _own_table(tree: dict[str, Any]) -> str:
    """The table of the task's own settings; empty where `run.task` is no name."""
    task = value_in(tree, "run.task")
    return own_table(task) if isinstance(task, str) and re.match(TASK_NAME, task) else ""


def dashboard_options(
    host: str, port: int, trusted_hosts: tuple[str, ...], base_path: str, frame_ancestors: tuple[str, ...]
) -> DashboardConfig:
    """Options of the command line, as a config has them.

    Raises:
        ConfigError: one of them is nothing a dashboard can use.
    """
    try:
        return DashboardConfig(
            host=host, port=port, trusted_hosts=trusted_hosts, base_path=base_path, frame_ancestors=frame_ancestors
        )
    except ValidationError as error:
        raise ConfigError("; ".join(str(one["msg"]).removeprefix("Value error, ") for one in error.errors())) from None


def read_toml(path: Path) -> dict[str, Any]:
    """The tree of a TOML file.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    if path.suffix.lower() in OTHER_FORMATS:
        raise ConfigError(
            f"{path} is {OTHER_FORMATS[path.suffix.lower()]}, settings are read from TOML",
            "write one with `python run.py init DATASET`, or start from one in configs/",
        )
    if path.is_dir():
        own = path / "config.toml"
        raise ConfigError(
            f"{path} is a folder, settings are read from a TOML file",
            f"give {own} to resume this run" if own.is_file() else f"write one with `python run.py init {path}`",
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "start from one in configs/") from None
    except UnicodeDecodeError as error:
        encoding = "UTF-16" if error.object[:2] in (b"\xff\xfe", b"\xfe\xff") else f"not UTF-8 ({error.reason})"
        raise ConfigError(f"{path} is not valid TOML: it is {encoding}", "save it as UTF-8") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # ten times as fast as tomlkit, which says what is wrong in better words
        return _parse(path, text)


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomlkit.parse(text).unwrap()
    except TOMLKitError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", _cure_of(text, error)) from None


def _cure_of(text: str, error: TOMLKitError) -> str:
    """What the line that cannot be parsed lacks: most often it is a Windows path."""
    line = (text.splitlines() or [""])[getattr(error, "line", 1) - 1 :][:1]
    if any(re.search(r'"[^"]*\\', part) for part in line):
        return paths.QUOTES
    return "put strings in quotes and names of tables in brackets, such as [train]"
