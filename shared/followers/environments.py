"""Which Python a tracker runs in: Darkroom's own where its package is installed, else one that is named for trackers.

Packages of trackers ask for versions that Darkroom's own do not go with. A follower needs only a few light packages, so
a small environment beside Darkroom's will do; of Darkroom it loads `shared` alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = "DARKROOM_TRACKER_PYTHON"
BESIDE = Path(".venv-trackers")
"""What `make trackers` creates beside Darkroom."""
NEEDED = {"PIL": "pillow", "filelock": "filelock", "psutil": "psutil", "pydantic": "pydantic", "tomlkit": "tomlkit"}
"""Module → package of what a follower imports."""
STARTER = Path(__file__).with_name("elsewhere.py")
LOOK = """
import sys
from importlib.util import find_spec
print("python", sys.version_info[0] * 100 + sys.version_info[1])
for name in sys.argv[1:]:
    spec = find_spec(name)
    print(name, int(spec is not None and spec.origin is not None))
"""
LEAST_VERSION = 311
LOOK_SECONDS = 60.0


def for_trackers() -> Path | None:
    """The Python of trackers that are not installed beside Darkroom; None: there is none."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    beside = ROOT / BESIDE / "bin" / "python"
    return beside if beside.is_file() else None


def has(package: str) -> bool:
    """Whether it is installed beside Darkroom. A folder of its name in the current one, which some trackers make, is
    no package."""
    spec = find_spec(package)
    return spec is not None and spec.origin is not None


def command(package: str, *arguments: object) -> list[str]:
    """`python -m shared.followers …` in the Python that has the package."""
    python = None if has(package) else for_trackers()
    if python is None:
        return [sys.executable, "-m", "shared.followers", *map(str, arguments)]
    return [str(python), "-I", "-u", str(STARTER), *map(str, arguments)]


def missing(package: str) -> tuple[str, str] | None:
    """Why a tracker that needs this package cannot run, and the cure; None: it can."""
    if has(package):
        return None
    python = for_trackers()
    if python is None:
        cure = f"install it: pip install {package}; or into an environment of its own (docs/trackers.md)"
        return f"needs {package}, which is not installed", cure
    whose = f"{VARIABLE}={python}" if VARIABLE in os.environ else str(python)
    try:
        lacks, version = _look(str(python), (package, *NEEDED))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return f"cannot run in {whose}: {error}", f"set {VARIABLE} to a Python that has {package}"
    if version < LEAST_VERSION:
        return f"cannot run in {whose}: it is older than Python 3.11", "make that environment with a newer Python"
    if lacks:
        names = " ".join(NEEDED.get(name, name) for name in lacks)
        return f"needs {', '.join(names.split())}, missing in {whose}", f"install it: {python} -m pip install {names}"
    return None


@lru_cache
def _look(python: str, names: Iterable[str]) -> tuple[list[str], int]:
    """Which of these modules a Python lacks, and its version.

    Raises:
        OSError, ValueError, subprocess.SubprocessError: the program does not run, or is no Python.
    """
    done = subprocess.run(
        [python, "-I", "-c", LOOK, *names], capture_output=True, text=True, check=True, timeout=LOOK_SECONDS
    )
    found = {name: int(number) for name, number in (line.split() for line in done.stdout.splitlines())}
    if not found.keys() >= {*names, "python"}:
        raise ValueError("it is no Python")
    return [name for name in names if not found[name]], found["python"]
