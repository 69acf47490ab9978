"""Writes captions picture by picture, as a queue: what is written is kept as a change, which can be undone.

Captions are written every few seconds and at the end, so that a program that is killed loses little, and the same
command goes on. Those of one program are one change: one click undoes them. A picture whose caption somebody changes
meanwhile is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from shared.config.loading import parse_config
from shared.config.schema import Config
from shared.data import captions
from shared.data.editing import captioned, captioner_status
from shared.data.editing.captioned import Captioned
from shared.data.editing.captioner_status import CaptionerStatus
from shared.data.editing.change import Change
from shared.data.editing.history import ConflictError
from shared.data.editing.in_use import runs_that_use
from shared.data.pictures import open_picture
from shared.data.sources import Pair
from shared.errors import DataError
from tasks.captioning.captioner import Caption

WRITE_SECONDS = 15.0


class Queue:
    """The pictures of a data set that get a caption, one after the other."""

    def __init__(self, data: str, runs: Path, model: str, *, every: bool, seconds: float = WRITE_SECONDS) -> None:
        """every: also those that have a caption. runs: the folder of runs that may be training on the pictures.

        Raises:
            DataError: there is no such data set, its captions cannot be changed, or a run trains on it.
        """
        place = Path(data).expanduser()
        data = str(place.absolute()) if place.exists() else data  # else a data set of the hub, or an error of its own
        self.config: Config = parse_config({"data": {"path": data}})
        self.runs, self.every, self.seconds = runs, every, seconds
        there = captioned.read(self.config)
        self.folder = there.folder
        if captioned.is_copy(data, self.folder):
            raise DataError(f"the captions of {data} are a copy", "change them in the data set itself")
        self._require_unused()
        self.waiting = [pair for pair in there.pairs if self._is_wanted(there, pair)]
        self.status = CaptionerStatus(state="loading", model=model, total=len(self.waiting))
        self._made: dict[str, tuple[str, str]] = {}
        self._change: Change | None = None
        self._written = time.monotonic()

    def tell(self, **changes: object) -> None:
        """Write how far it is."""
        self.status = self.status.model_copy(update=changes)
        self.status.write(captioner_status.place_of(self.folder))

    def work(self, load: Callable[[], Caption], say: Callable[[CaptionerStatus], object]) -> None:
        """Load the model and caption every picture.

        Raises:
            DarkroomError: the model cannot be loaded, or a run began to train on the pictures; what was written stays.
        """
        with captioner_status.hold(self.folder):
            try:
                self.tell()
                caption = load()
                for pair in self.waiting:
                    if captioner_status.is_asked_to_stop(self.folder):
                        break
                    self._one(pair, caption)
                    say(self.status)
                self._flush()
                is_whole = self.status.done == len(self.waiting)
                self.tell(state="finished" if is_whole else "stopped")
            except BaseException as error:
                self.tell(state="failed", message=str(error) or type(error).__name__)
                raise

    def _one(self, pair: Pair, caption: Caption) -> None:
        try:
            text = captions.tidy(caption(open_picture(pair.image)))
        except DataError:  # it cannot be read: `train` says so
            text = ""
        skipped = self.status.skipped
        if text and not captions.fault(text):
            self._made[pair.id] = text, pair.caption
        else:
            skipped += 1
        self.tell(state="writing", done=self.status.done + 1, skipped=skipped)
        if time.monotonic() - self._written > self.seconds:
            self._flush()

    def _flush(self) -> None:
        """Write what was made; those that somebody has changed meanwhile stay as they are."""
        self._require_unused()
        there = captioned.read(self.config)
        wanted = {
            pair_id: text
            for pair_id, (text, before) in self._made.items()
            if (pair := there.by_id.get(pair_id)) and pair.caption == before
        }
        skipped = len(self._made) - len(wanted)
        try:
            if entries := there.entries(wanted):
                history = there.history
                self._change = history.make("caption", self.status.model, entries, extends=self._change)
        except ConflictError:
            skipped += len(wanted)
        self._made, self._written = {}, time.monotonic()
        if skipped:
            self.tell(skipped=self.status.skipped + skipped)

    def _is_wanted(self, there: Captioned, pair: Pair) -> bool:
        return pair.image.is_file() and (self.every or there.is_without(pair))

    def _require_unused(self) -> None:
        if names := runs_that_use(self.folder, self.runs):
            raise DataError(
                f"{', '.join(names)} trains on the pictures of {self.folder}",
                "wait until it has ended, or stop it; then give the same command again",
            )


def summary(queue: Queue) -> str:
    """What was done, in a sentence."""
    done, skipped = queue.status.done, queue.status.skipped
    return f"{done - skipped} of {len(queue.waiting)} captions written" + (f", {skipped} left alone" if skipped else "")
