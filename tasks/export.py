"""`python -m tasks.export RUN …`: the export of the run's own task, whose options follow."""

from __future__ import annotations

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
import importlib
import sys
from pathlib import Path

import tasks
from shared.errors import exit_code_of
from shared.files.publication import verify
from shared.run_folder.file_to_ship import chosen_step
from shared.run_folder.run_dir import open_run
from shared.run_folder.sharing.leases import reading


def main() -> int:
    """Find the task and let it do the rest; a snapshot whose files are gone is refused before anything is loaded."""
    parser = argparse.ArgumentParser(prog="python -m tasks.export", add_help=False)
    parser.add_argument("run", type=Path)
    parser.add_argument("--step", default="best")
    arguments = parser.parse_known_args()[0]
    run = open_run(arguments.run)
    step = chosen_step(run, arguments.step)
    with reading(run, step):
        verify(run.snapshot(step))
        return importlib.import_module(tasks.command(run.read_config().run.task, "export")).main()


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
