"""One tracker a file. Its name is the file's; `PACKAGE` is what it needs installed, and `create()` makes it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from importlib.util import find_spec
from types import ModuleType

from shared.errors import ConfigError
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


def require(wanted: Iterable[str]) -> None:
    """Check before anything is started that every tracker can be.

    Raises:
        ConfigError: naming each that cannot, with its cure.
    """
    known, problems = names(), list[tuple[str, str]]()
    for name in wanted:
        if name not in known:
            problems.append((f"run.trackers names {name!r}", f"choose from {', '.join(known)}"))
        elif find_spec(package := _module(name).PACKAGE) is None:
            text = f"the tracker {name} needs {package}, which is not installed"
            problems.append((text, f"install it: pip install {package}"))
    if problems:
        raise ConfigError("; ".join(text for text, _ in problems), "; ".join(dict(problems).values()))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")
