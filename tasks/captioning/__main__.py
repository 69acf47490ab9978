"""`python -m tasks.captioning FOLDER --model …`: captions for the pictures of a data set, as `run.py caption` asks."""

from __future__ import annotations

from shared import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
import sys
from pathlib import Path

from shared.data.editing.captioner_status import CaptionerStatus
from shared.errors import exit_code_of
from shared.launch.attended.say import say
from tasks.captioning.captioner import THRESHOLD, Caption, load, name_of, require_threshold
from tasks.captioning.found import find
from tasks.captioning.writing import Queue, summary
from tasks.devices import choose_device

TOLD_EVERY = 10


def main() -> int:
    """Read the command line and work through the queue."""
    parser = argparse.ArgumentParser(prog="run.py caption", description=__doc__)
    parser.add_argument("data", help="a data set, as data.path names it")
    parser.add_argument("--model", required=True, help="folder or hub id of a Florence-2, a BLIP or a tagger")
    parser.add_argument("--all", action="store_true", help="also pictures that have a caption")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs that may train on the pictures")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="probability from which a tag counts")
    given = parser.parse_args()
    threshold, device = require_threshold(given.threshold), choose_device(given.device)
    source = find(given.model)
    queue = Queue(given.data, given.runs, name_of(given.model), every=given.all)
    if not queue.waiting:
        say("every picture has a caption; --all writes them anew")
        return 0
    interruption.begin()

    def loaded() -> Caption:
        return load(source, str(device), threshold)

    queue.work(loaded, tell)
    say(summary(queue))
    say("the dashboard's page Data shows them, and undoes them under Changes")
    return 0


def tell(status: CaptionerStatus) -> None:
    """Progress in the terminal."""
    if status.done % TOLD_EVERY == 0 or status.done == status.total:
        say(f"{status.done} of {status.total} pictures")


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
