"""Read by Python at its start where this folder is on the path: nobody but the script itself shall find torchvision.

transformers would take the stand-in for the whole library, and use what it has not.
"""

import importlib.util
from importlib.machinery import ModuleSpec

_find_spec = importlib.util.find_spec


def _without_torchvision(name: str, package: str | None = None) -> ModuleSpec | None:
    return None if name.split(".")[0] == "torchvision" else _find_spec(name, package)


importlib.util.find_spec = _without_torchvision
