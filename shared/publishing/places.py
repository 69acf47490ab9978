"""Nothing that is published names a place on this machine: of a path only its last part is left."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from shared.config.path_settings import PATH_KEYS
from shared.run_folder.run_dir import RunDir

POSIX = re.compile(r"(?<![\w.~:/-])~?(?:/[\w.@+-]+){2,}/?")
"""`/home/ann/runs/dress`; not the path of an address, and not a fraction such as `/4`."""
WINDOWS = re.compile(r"(?<!\w)[A-Za-z]:[\\/](?:[^\\/\s\"'`<>|]+[\\/])*[^\\/\s\"'`<>|]*|\\\\[\w.$-]+(?:\\[\w.$ -]+)+")


def cleaner(run: RunDir) -> Callable[[str], str]:
    """A function that shortens every path in a text. Those of the run's settings may have spaces in them."""
    config = run.read_config()
    named = [Path(str(value)) for key in PATH_KEYS if (value := config.value(key))]
    known = [str(path) for path in (run.path, run.path.parent, Path.home(), *named) if path.is_absolute()]
    longest_first = sorted({path for path in known if len(Path(path).parts) > 1}, key=len, reverse=True)
    below = [re.compile(rf"{re.escape(path)}(?:[\\/][\w.@+-]+)*") for path in longest_first]

    def cleaned(text: str) -> str:
        for pattern in (*below, POSIX, WINDOWS):
            text = pattern.sub(lambda found: re.split(r"[\\/]", found[0].rstrip("/\\"))[-1], text)
        return text

    return cleaned
