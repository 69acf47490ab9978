"""How a person calls Darkroom: `python run.py` in a clone of the repository, `darkroom` where it is installed."""

from __future__ import annotations

import os

IN_A_CLONE = "python run.py"
VARIABLE = "DARKROOM_COMMAND"
"""Set by the installed command for itself and the programs that it starts."""


def as_called(text: str) -> str:
    """A text that names commands as in a clone, with the name by which this program was called."""
    name = os.environ.get(VARIABLE)
    return text.replace(IN_A_CLONE, name).replace("run.py ", f"{name} ") if name else text
