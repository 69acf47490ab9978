"""A run folder without training: the contract's own writers, an invented learning curve, drawn pictures.

    python -m examples.fake_run runs/fake          a finished run: a stop, a resume, a failed evaluation, a blank metric
    python -m examples.fake_run runs/fake --live   a run as it happens; stop, pause and snapshot work
    python -m examples.fake_run runs --all         runs called live, finished, unproven, empty and failed
    python run.py dashboard                        look at it

For looking at the dashboard, and for testing it, where there is no GPU and no time. Every number in it is made up.
"""

from __future__ import annotations

import argparse
import contextlib
import threading
from pathlib import Path

from examples.fake_run.history import write_history
from examples.fake_run.live import live
from examples.fake_run.run import create
from examples.fake_run.states import all_states


def main() -> None:
    """Read the command line; Ctrl-C leaves a run that the next call continues."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder to write, such as runs/fake")
    parser.add_argument("--steps", type=int, default=600, help="optimizer updates in all")
    parser.add_argument("--snapshot-steps", type=int, default=50, help="updates between two snapshots")
    parser.add_argument("--all", action="store_true", help="RUN is a folder of runs: one in each state, until Ctrl-C")
    parser.add_argument("--live", action="store_true", help="as it happens, until the last step or a stop request")
    parser.add_argument("--step-seconds", type=float, default=0.2, help="live: seconds per update")
    parser.add_argument("--evaluation-seconds", type=float, default=4.0, help="live: seconds between two evaluations")
    parser.add_argument("--ignore-stop", action="store_true", help="live: a trainer that does not answer")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        if options.all:
            with all_states(options.run, options.steps, options.snapshot_steps):
                threading.Event().wait()
        fake = create(options.run, options.steps, options.snapshot_steps)
        if options.live:
            live(fake, options.step_seconds, options.evaluation_seconds, options.ignore_stop)
        else:
            write_history(fake)


if __name__ == "__main__":
    main()
