"""`darkroom …`, `python -m darkroom …`: what `python run.py …` does in a clone of the repository.

A wheel with top-level packages called `shared` or `tasks` would break other packages of these names. In the wheel they
lie in this folder, which comes first on the path of this process and of those that it starts, and of no others.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE if (HERE / "run.py").is_file() else HERE.parent


def main() -> None:
    """Run a command."""
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DARKROOM_COMMAND", "darkroom")
    from shared import interruption  # noqa: PLC0415 - it is on the path only now

    interruption.end_at_once()
    from run import app  # noqa: PLC0415

    app(prog_name="darkroom")


if __name__ == "__main__":
    main()
