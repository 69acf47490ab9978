"""What can be learnt: each task is a package of its own, and the programs know them by `tasks.protocol` alone.

A package holds `task` (without torch: what a command asks before a program starts), `training` and `evaluation`. It may
hold `init`, `score` and `export`, which the commands of these names run.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, cast

from shared.config.sections.base import Section
from shared.errors import ConfigError
from shared.launch.task import Task
from tasks.protocol import EvaluationPart, TrainingPart

TASKS = {"text_to_image": "tasks.text_to_image"}
"""`run.task` → package. One that is not part of Darkroom is named by its own package, as `package.of.it`."""


def find(name: str) -> Task:
    """What commands ask of a task. Never imports torch.

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
    """What the trainer asks of a task."""
    return cast("TrainingPart", _part(name, "training"))


def evaluation(name: str) -> EvaluationPart:
    """What the evaluator asks of a task."""
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
            raise  # something that the task itself needs
        raise ConfigError(
            f"run.task is {name!r}, and there is no module {error.name}",
            f"set run.task to {', '.join(TASKS)}, or to a package that holds task, training and evaluation; "
            "if it is in a folder of yours, set PYTHONPATH to that folder",
        ) from None
