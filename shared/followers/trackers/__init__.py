"""One tracker a file. Its name is the file's; `PACKAGE` is what it needs installed, and `create()` makes it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType

from shared.errors import ConfigError
from shared.followers import environments
from shared.followers.tracker import Tracker


def names() -> list[str]:
    """What `run.trackers` may list."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def create(name: str) -> Tracker:
    """The tracker of this name.

    Raises:
        ConfigError: there is none, or its package is not installed.
    """
    require([name])
    return _module(name).create()


def require(wanted: Iterable[str], setting: str = "run.trackers") -> None:
    """Check before anything is started that every tracker can be. setting: where a person has named them.

    Raises:
        ConfigError: naming each that cannot, with its cure.
    """
    known, problems = names(), list[tuple[str, str]]()
    for name in wanted:
        if name not in known:
            problems.append((f"{setting} names {name!r}", f"choose from {', '.join(known)}"))
        elif found := environments.missing(_module(name).PACKAGE):
            problems.append((f"the tracker {name} {found[0]}", found[1]))
    if problems:
        raise ConfigError("; ".join(text for text, _ in problems), "; ".join(dict(problems).values()))


def command(name: str, *arguments: object) -> list[str]:
    """The program that follows a run for a tracker, in a Python that has its package. One that does not exist is said
    by that program."""
    package = _module(name).PACKAGE if name in names() else "shared"
    return environments.command(package, *arguments)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")
