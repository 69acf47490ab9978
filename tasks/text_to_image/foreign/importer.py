"""`python -m tasks.text_to_image.foreign.importer RUN`: take the LoRAs of another trainer into a run as they appear.

Without `--follow` it ends when nothing there still changes. With it, at a signal, at a request to stop, or after
`--patience` minutes without anything new. What is not whole by then is taken as it is; its evaluation fails and says
why.
"""

from __future__ import annotations

from shared import interruption, stacks

if __name__ == "__main__":
    interruption.end_at_once()
    stacks.print_when_asked()

import argparse
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from shared.errors import RunFolderError, exit_code_of
from shared.files.publication import sweep
from shared.launch import end_signals, parent_watch
from shared.run_folder import requests
from shared.run_folder.heartbeat import Status, hold_role
from shared.run_folder.run_dir import RunDir, open_run
from tasks.text_to_image.foreign.files.found import Contents, Search
from tasks.text_to_image.foreign.snapshots import taking
from tasks.text_to_image.foreign.snapshots.bringing import Bringing

log = logging.getLogger("importer")

POLL_SECONDS = 0.1
LEAST_SECONDS = 1.0
"""Between two looks, however many events there are."""


class Importer(FileSystemEventHandler):
    """Looks at the folder until it has a reason to end. File events only hasten the next look."""

    def __init__(self, run: RunDir, status: Status, *, follows: bool, patience: float) -> None:
        imported = run.read_record().imported
        if imported is None:
            raise RunFolderError(
                f"{run.path} has snapshots of its own", "give a run that `run.py evaluate FOLDER` made"
            )
        self._run, self._status, self._follows = run, status, follows
        self._patience_seconds = 60 * patience
        self.folder = Path(imported.folder)
        self._search = Search(self.folder, imported.pattern)
        self._bringing = Bringing(run, self._say, announces=True)
        self._rescan_seconds = run.read_config().evaluation.rescan_seconds
        self._ends = self._is_hastened = False  # no events of threads: a signal may interrupt their locks
        self._is_away = False
        self._news = time.monotonic()

    def end(self, *_: object) -> None:
        """Look once more, then end."""
        self._ends = True

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog's thread; whoever reads a file opens and closes it."""
        if event.event_type not in ("opened", "closed_no_write"):
            self._is_hastened = True

    def work(self) -> int:
        """Returns the exit code."""
        requests.ignore_before(self._run, requests.session_started(self._run))
        contents = self._look()
        while not self._is_done():
            self._pause()
            contents = self._look()
        self._bring(contents, last=True)
        for request in requests.open_requests(self._run, "stop"):
            requests.answer(self._run, request, "stopped", self._last_step())
        self._status.close("finished", self._message())
        return 0

    def _pause(self) -> None:
        started, self._is_hastened = time.monotonic(), False
        while not self._ends:
            time.sleep(POLL_SECONDS)
            seconds = time.monotonic() - started
            if seconds > self._rescan_seconds or (self._is_hastened and seconds > LEAST_SECONDS):
                return

    def _look(self) -> Contents:
        try:
            contents = self._search.look()
        except OSError as error:  # a network drive that is away for a while
            if not self._is_away:
                self._say(f"{self.folder} cannot be read: {error.strerror}")
            self._is_away = True
            return Contents(())
        if self._is_away:
            self._say(f"{self.folder} can be read again")
        self._is_away = False
        self._bring(contents)
        return contents

    def _bring(self, contents: Contents, *, last: bool = False) -> None:
        when = "everything" if last else "only what is whole" if self._follows else "also what has stopped changing"
        if self._bringing.bring(contents, when):
            self._news = time.monotonic()
        self._status.update("idle", step=self._last_step(), message=self._message())

    def _is_done(self) -> bool:
        if self._ends or requests.open_requests(self._run, "stop"):
            return True
        if self._follows:
            return 0 < self._patience_seconds < time.monotonic() - self._news
        return not self._bringing.unsettled

    def _last_step(self) -> int:
        return max(taking.taken(self._run), default=0)

    def _message(self) -> str:
        return f"{len(taking.taken(self._run))} LoRAs taken from {self.folder}"

    def _say(self, text: str) -> None:
        log.info(text)
        self._status.notice(text)


@contextmanager
def watching(importer: Importer) -> Generator[None]:
    """Look sooner when something happens in the folder; where it cannot be watched, looks come by the clock."""
    observer = Observer()
    try:
        observer.schedule(importer, str(importer.folder), recursive=True)
        observer.start()
    except OSError as error:
        log.info("%s cannot be watched (%s): it is looked at by the clock", importer.folder, error)
        yield
        return
    try:
        yield
    finally:
        observer.stop()
        with contextlib.suppress(RuntimeError):
            observer.join()


def main() -> int:
    """Work until the end."""
    parser = argparse.ArgumentParser(prog="python -m tasks.text_to_image.foreign.importer", description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--follow", action="store_true", help="wait for new LoRAs")
    parser.add_argument("--patience", type=float, default=0.0, help="minutes without anything new; 0: no end")
    arguments = parser.parse_args()
    run = open_run(arguments.run)
    with hold_role(run, "importer") as status:
        sweep(run.staging)
        importer = Importer(run, status, follows=arguments.follow, patience=arguments.patience)
        for number in end_signals.ending():
            signal.signal(number, importer.end)
        parent_watch.watch(importer.end)
        with watching(importer):
            return importer.work()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(exit_code_of(main))
