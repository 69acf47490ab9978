"""Settings from a TOML file and overrides; every problem of both is reported at once.

Precedence: the defaults in `shared.config.sections` < the TOML file < overrides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import ValidationError
from tomlkit.exceptions import TOMLKitError

from shared.config import path_settings
from shared.config.overrides import overlay, parse_overrides, two_ends
from shared.config.problems import problems_of
from shared.config.schema import RUN_NAME, Config, DashboardConfig, value_in
from shared.errors import ConfigError
from shared.files import paths

OTHER_FORMATS = {".yaml": "YAML", ".yml": "YAML", ".json": "JSON", ".ini": "INI", ".cfg": "INI", ".py": "Python"}


def load_config(path: Path, overrides: list[str] | None = None) -> Config:
    """Read a TOML file, apply `key.sub=value` overrides, validate.

    Relative paths are meant from the current folder, as on any command line, and come out absolute; `~` is the home
    folder.

    Raises:
        ConfigError: the file cannot be read, or any key or value is wrong; all problems in one message.
    """
    tree = _read_toml(path)
    given, problems = parse_overrides(overrides or [])
    is_of_a_run = (path.parent / "run.json").is_file()  # its config.toml has the steps computed from the epochs, too
    problems += two_ends(given) or ([] if is_of_a_run else two_ends(tree))
    overlay(tree, given)
    faults = path_settings.expand(tree)
    name = value_in(tree, "run.name") or path.stem
    if isinstance(name, str) and not RUN_NAME.fullmatch(name):
        rule = "may have the letters a to z, digits, '.', '_' and '-'"
        from_file = "" if value_in(tree, "run.name") else "taken from the file's name; set run.name: it "
        problems.append(f"run.name is {name!r}, {from_file}{rule}")
    config = parse_config(tree, [*problems, *faults], "; ".join(dict.fromkeys(faults.values())))
    return path_settings.with_absolute_paths(config, name)


def parse_config(tree: dict[str, Any], problems: Sequence[str] = (), cure: str = "") -> Config:
    """Validate a plain tree of settings. problems: those known already, which join the error; cure: theirs.

    Raises:
        ConfigError: with every problem on a line of its own.
    """
    problems = [*problems, *problems_of(tree)]
    if problems:
        hint = "see docs/configuration.md for every key, its unit and default"
        raise ConfigError("\n       ".join(problems), cure or hint)
    return Config.model_validate(tree)


def dashboard_options(host: str, port: int, trusted_hosts: tuple[str, ...], base_path: str) -> DashboardConfig:
    """Options of the command line, as a config has them.

    Raises:
        ConfigError: one of them is nothing a dashboard can use.
    """
    try:
        return DashboardConfig(host=host, port=port, trusted_hosts=trusted_hosts, base_path=base_path)
    except ValidationError as error:
        raise ConfigError("; ".join(str(one["msg"]).removeprefix("Value error, ") for one in error.errors())) from None


def _read_toml(path: Path) -> dict[str, Any]:
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
        return tomlkit.parse(text).unwrap()
    except TOMLKitError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", _cure_of(text, error)) from None


def _cure_of(text: str, error: TOMLKitError) -> str:
    """What the line that cannot be parsed lacks: most often it is a Windows path."""
    line = (text.splitlines() or [""])[getattr(error, "line", 1) - 1 :][:1]
    if any(re.search(r'"[^"]*\\', part) for part in line):
        return paths.QUOTES
    return "put strings in quotes and names of tables in brackets, such as [train]"
