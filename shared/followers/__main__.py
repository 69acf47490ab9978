"""`python -m shared.followers RUN NAME`: give a run to a tracker, as it goes on or afterwards.

Ends when the run is over and everything is delivered; started again, it goes on where it was. SIGTERM, SIGINT: deliver
what is on disk, then end.

Exit codes: 0 everything is delivered, 1 not everything, 2 wrong folder, no such tracker, or its package or settings are
missing.
"""

from __future__ import annotations

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
import logging
import signal
import sys
from pathlib import Path

from shared.errors import exit_code_of
from shared.followers import trackers
from shared.followers.follower import Follower
from shared.launch import end_signals
from shared.run_folder.heartbeat import hold_role
from shared.run_folder.run_dir import open_run


def main() -> int:
    """Follow one run for one tracker."""
    parser = argparse.ArgumentParser(prog="python -m shared.followers", description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("name", help="the tracker")
    parser.add_argument("--skip-model-upload", action="store_true", help="numbers and pictures, but no snapshot")
    arguments = parser.parse_args()
    run, tracker = open_run(arguments.run), trackers.create(arguments.name)
    with hold_role(run, "tracker", arguments.name) as status:
        follower = Follower(run, arguments.name, tracker, status, skip_model_upload=arguments.skip_model_upload)
        for number in end_signals.ending():
            signal.signal(number, lambda *_: follower.finish())
        if follower.follow():
            return 0
        status.close("failed", "not everything was delivered")
        return 1


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(exit_code_of(main))
