"""Follows one run by what is on disk and gives it to one tracker; training never notices whether that works."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from shared.errors import ConfigError
from shared.followers.delivered import Delivered
from shared.followers.new_rows import NewRows
from shared.followers.tracker import Row, Table, Tracker, parse_row
from shared.run_folder.heartbeat import Status, is_alive, read_status, snapshots_may_come, someone_serves
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import RunDir
from shared.run_folder.tables import read_rows

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
MAX_ROWS = 500
"""Delivered in one call."""
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 5.0, 300.0
SHEET = "sheet.webp"


class Follower:
    """`status` says how far it is; a tracker that fails is a notice there and a traceback in the log."""

    def __init__(
        self,
        run: RunDir,
        name: str,
        tracker: Tracker,
        status: Status,
        look_seconds: float = LOOK_SECONDS,
        retry_seconds: float = FIRST_RETRY_SECONDS,
    ) -> None:
        self._run, self._name, self._tracker, self._status = run, name, tracker, status
        self._look_seconds, self._retry_seconds = look_seconds, retry_seconds
        self._ended = threading.Event()
        self._tables: dict[Table, NewRows] = {
            "train": NewRows(run.train_csv),
            "validation": NewRows(run.validation_csv),
        }
        self._begun, self._said = False, ""
        self._path = run.tracker(name).with_suffix(".json")
        self._path.parent.mkdir(exist_ok=True)
        self._delivered = Delivered.read(self._path) if self._path.exists() else Delivered()

    def finish(self) -> None:
        """Deliver what is on disk, then end; may be called from a signal handler."""
        self._ended.set()

    def follow(self) -> bool:
        """Until the run is over, or `finish`; returns whether everything was delivered.

        Raises:
            ConfigError: the tracker's; trying again is no cure.
        """
        retry_at, pause = 0.0, self._retry_seconds
        while not (self._ended.is_set() or is_over(self._run)):
            if time.monotonic() >= retry_at:
                if self._succeeds(self._catch_up):
                    pause = self._retry_seconds
                else:
                    retry_at, pause = time.monotonic() + pause, min(2 * pause, LAST_RETRY_SECONDS)
            self._ended.wait(self._look_seconds)
        done = self._succeeds(self._catch_up)  # once more: what was written until it was over
        ended = self._begun and self._succeeds(lambda: self._tracker.end(exit_code(self._run)))
        if not done:
            again = f"`python -m shared.followers {self._run.path} {self._name}` delivers the rest"
            self._status.notice(f"not everything was delivered: {again}")
        return done and ended

    def _catch_up(self) -> None:
        """Deliver everything on disk that has not been."""
        if not self._begun:
            self._tracker.begin(self._run, self._run.read_config())
            self._begun = True
        for table, new in self._tables.items():
            last = self._delivered.steps.get(table, -1)
            rows = [row for row in map(parse_row, new.read()) if row.step > last]
            self._deliver_rows(table, rows)
        self._deliver_results()
        best = self._run.read_best()
        if best and best_key(best) != self._delivered.best:
            self._tracker.best(best)
            self._note(best=best_key(best))
        step = self._delivered.steps.get("train", 0)
        self._status.update("serving", step=step, message=f"{self._name}: {len(self._delivered.results)} evaluations")

    def _deliver_rows(self, table: Table, rows: list[Row]) -> None:
        for begin in range(0, len(rows), MAX_ROWS):
            chunk = rows[begin : begin + MAX_ROWS]
            self._tracker.rows(table, chunk)
            self._note(steps={**self._delivered.steps, table: chunk[-1].step})

    def _deliver_results(self) -> None:
        """Rows of metrics.csv, which is replaced whole, and the contact sheets that belong to them."""
        cells = [cell for cell in read_rows(self._run.metrics_csv) if self._is_new(cell)]
        if cells:
            self._tracker.rows("metrics", [parse_row(cell) for cell in cells])
            statuses = {int(cell["step"]): cell["status"] for cell in cells}
            self._note(results={**self._delivered.results, **statuses})
        for step in sorted(self._delivered.results.keys() - set(self._delivered.sheets)):
            picture = self._run.evaluation(step) / SHEET
            if picture.is_file():
                self._tracker.sheet(step, picture)
                self._note(sheets=(*self._delivered.sheets, step))

    def _is_new(self, cell: dict[str, str]) -> bool:
        return self._delivered.results.get(int(cell["step"])) != cell["status"]

    def _succeeds(self, call: Callable[[], None]) -> bool:
        try:
            call()
        except ConfigError:
            raise
        except Exception as error:
            log.exception("the tracker %s failed", self._name)
            if (text := f"{self._name}: {str(error) or type(error).__name__}") != self._said:
                self._said = text
                self._status.notice(text)
            for table in self._tables.values():
                table.rewind()  # rows that were read and not delivered come again
            return False
        return True

    def _note(self, **changes: Any) -> None:
        self._delivered = self._delivered.model_copy(update=changes)
        self._delivered.write(self._path)


def is_over(run: RunDir) -> bool:
    """Whether nobody will write any more: no trainer, no evaluator, no `run.py` but one that only shows."""
    supervisor = read_status(run, "supervisor")
    if supervisor and supervisor.state != "serving" and is_alive(supervisor):
        return False
    return not snapshots_may_come(run) and not someone_serves(run, "evaluator")


def exit_code(run: RunDir) -> int:
    """0: trained to the end, stopped as asked, or still at it; 1: the trainer failed or is gone."""
    trainer = read_status(run, "trainer")
    ended_well = trainer is None or trainer.state in ("finished", "stopped") or is_alive(trainer)
    return 0 if ended_well else 1


def best_key(best: Best) -> str:
    """Changes when another snapshot is the best, or the same one for better reasons."""
    return f"{best.step} {best.better_than_base} {best.confirmation is not None}"
