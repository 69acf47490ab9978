"""`python -I elsewhere.py RUN NAME`: `python -m shared.followers` in a Python without Darkroom.

Loads the package `shared` from where this file lies, and nothing that lies beside it: Darkroom's own packages, of other
versions, may be neighbours.
"""

from __future__ import annotations

import runpy
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def load_shared() -> None:
    """Make `shared` importable."""
    folder = Path(__file__).resolve().parents[1]
    spec = spec_from_file_location("shared", folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec
    assert spec.loader
    sys.modules["shared"] = module = module_from_spec(spec)
    spec.loader.exec_module(module)


if __name__ == "__main__":
    load_shared()
    runpy.run_module("shared.followers", run_name="__main__", alter_sys=True)
