"""What a file that torch.save has written would build, told from its text: nothing is run. Never imports torch."""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path

OF_TENSORS = ("torch", "collections", "numpy", "_codecs")
"""The packages that tensors and plain values are built by."""
OF_NETWORKS = "torch.nn.modules"


def foreign(file: Path) -> list[str]:
    """What is no tensor and no plain value, such as `fastai.learner.Learner`; in the order of the file.

    So whole networks and trainers are refused before a run is made. torch checks the file again when it reads it.
    Empty too where the file is of another form.
    """
    return list(dict.fromkeys(f"{module}.{name}" for module, name in _named(file) if not _is_of_tensors(module)))


def _named(file: Path) -> Iterator[tuple[str, str]]:
    """Module and name of everything that is called."""
    try:
        with zipfile.ZipFile(file) as archive:
            text = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
            operations = list(pickletools.genops(archive.read(text))) if text else []
    except (OSError, ValueError, zipfile.BadZipFile):
        return
    for operation, argument, _ in operations:
        if operation.name == "GLOBAL" and isinstance(argument, str):
            module, _, name = argument.partition(" ")
            yield module, name


def _is_of_tensors(module: str) -> bool:
    return module.partition(".")[0] in OF_TENSORS and not module.startswith(OF_NETWORKS)
