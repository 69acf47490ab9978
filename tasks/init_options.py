"""What `init` of every task does with its options, whatever the data set is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from shared.errors import ConfigError, writing
from shared.files.replacing import replace_file


def plain_name(place: Path, otherwise: str) -> str:
    """The name of a run on a data set, of letters that files may have. otherwise: where none is left."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", place.resolve().stem).strip("-._") or otherwise


def target_of(output: Path | None, name: str, *, force: bool) -> Path:
    """Where the config is written.

    Raises:
        ConfigError: it exists already, and `force` is not given.
    """
    target = output or Path(f"{name}.toml")
    if target.exists() and not force:
        raise ConfigError(f"{target} exists", "give another --output, or --force to overwrite it")
    return target


def refuse_meaningless(given: Mapping[str, object], what: str) -> None:
    """Refuse options that mean nothing for a task. given: option → value. what: the task deals with.

    Raises:
        ConfigError: with all that are given.
    """
    if meaningless := [name for name, value in given.items() if value]:
        raise ConfigError(
            f"{', '.join(meaningless)} mean{'s' if len(meaningless) == 1 else ''} nothing for {what}",
            "leave it out, or name another --task",
        )


def write(target: Path, text: str) -> None:
    """Write the config whole."""
    with writing("--output", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_file(target, text.encode())
