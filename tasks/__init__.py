"""Tasks: each is a package, which the programs use through `tasks.protocol` only.

A package has the modules `task` (without torch; used by commands before a program starts), `training` and `evaluation`.
The modules `init`, `score`, `export` and `publish` are optional: the commands of these names run them.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from shared.config.sections.base import Section
from shared.errors import ConfigError
from shared.launch.task import Task
from tasks.protocol import EvaluationPart, TrainingPart

TASKS = {
    "text_to_image": "tasks.text_to_image",
    "image_classification": "tasks.image_classification",
    "language_model": "tasks.language_model",
}
"""`run.task` → package. Any other task is named by its package, such as `my_package.my_task`."""


@dataclass(frozen=True)
class Demo:
    """One of `run.py demo`."""

    writer: str
    """The program that writes its data."""
    configs: Mapping[str, str]
    """What learns, as `--family` names it → its config; the usual one has no name."""


DEMOS = {
    "kimono": Demo("pocket", {"": "configs/pocket_kimono_cpu.toml", "flow": "configs/pocket_kimono_flow_cpu.toml"}),
    "digits": Demo("tasks.image_classification.digits", {"": "configs/digits_cpu.toml"}),
    "language": Demo("tasks.language_model.docstrings", {"": "configs/docstrings_cpu.toml"}),
    "kanji": Demo("examples.kanji", {"": "configs/kanji_cpu.toml"}),
}
"""By `run.py demo --task`."""


def demo(name: str, family: str = "") -> tuple[str, str]:
    """Config and program of a demo.

    Raises:
        ConfigError: there is none of this name, or it has no such family.
    """
    if name not in DEMOS:
        raise ConfigError(f"--task is {name}, which is no demo", f"give one of {', '.join(DEMOS)}")
    configs = DEMOS[name].configs
    if family not in configs:
        others = ", ".join(filter(None, configs))
        cure = f"give {others}, or leave --family out" if others else "leave --family out"
        raise ConfigError(f"--family is {family}, which the demo {name} does not have", cure)
    return configs[family], DEMOS[name].writer


def suited(data: Path) -> tuple[str, str]:
    """The task that a data set is of, and why; `text_to_image` and nothing where no task claims it."""
    for name, package in TASKS.items():
        if importlib.util.find_spec(f"{package}.init") is None:
            continue
        suits = getattr(importlib.import_module(f"{package}.init"), "suits", None)
        if suits and (why := suits(data)):
            return name, why
    return next(iter(TASKS)), ""


def find(name: str) -> Task:
    """The module `task`, used by commands. Never imports torch.

    Raises:
        ConfigError: there is no such task.
    """
    return cast("Task", _part(name, "task"))


def settings(name: str) -> type[Section] | None:
    """The model of a task's own settings, `Settings` in its module `task`; None if it has none.

    Raises:
        ConfigError: there is no such task.
    """
    return getattr(find(name), "Settings", None)


def training(name: str) -> TrainingPart:
    """The module `training`, used by the trainer."""
    return cast("TrainingPart", _part(name, "training"))


def evaluation(name: str) -> EvaluationPart:
    """The module `evaluation`, used by the evaluator."""
    return cast("EvaluationPart", _part(name, "evaluation"))


def command(name: str, command: str) -> str:
    """The module of a task that a command of `run.py` runs, such as `tasks.text_to_image.export`.

    Raises:
        ConfigError: there is no such task, or it has no such command.
    """
    find(name)
    module = f"{TASKS.get(name, name)}.{command}"
    if importlib.util.find_spec(module) is None:
        raise ConfigError(
            f"the task {name} has no command {command}: there is no module {module}",
            "add that module, or run the command for another task",
        )
    return module


def _part(name: str, part: str) -> Any:
    package = TASKS.get(name, name)
    try:
        return importlib.import_module(f"{package}.{part}")
    except ModuleNotFoundError as error:
        if error.name is None or not f"{package}.{part}.".startswith(f"{error.name}."):
            raise  # the task itself imports something that is missing
        raise ConfigError(
            f"run.task is {name!r}, but there is no module {error.name}",
            f"set run.task to {', '.join(TASKS)}, or to a package with the modules task, training and evaluation; "
            "set PYTHONPATH to the folder of that package",
        ) from None
