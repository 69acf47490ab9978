"""Follows one run by what is on disk and gives it to one tracker; training never notices whether that works."""

from __future__ import annotations

import hashlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, get_args

from PIL import Image

from shared.errors import ConfigError, DarkroomError, RunFolderError
from shared.files.publication import read_manifest
from shared.followers import card, comparison, outage
from shared.followers.delivered import Delivered
from shared.followers.new_rows import NewRows
from shared.followers.tracker import Model, Table, Tracker, parse_row
from shared.followers.tracker_names import TrackerNames
from shared.run_folder.averages import label
from shared.run_folder.file_to_ship import why_not_shippable
from shared.run_folder.heartbeat import Status, is_alive, read_status, snapshots_may_come, someone_serves
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import SHEET, RunDir
from shared.run_folder.sharing.leases import reading
from shared.run_folder.tables import read_rows

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
MAX_ROWS = 500
"""Delivered in one call."""
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 5.0, 300.0
WITH_ANY = ("step", "timestamp", "status", "reason", "signals", "sure")
"""Cells of metrics.csv that are delivered with any others of a row."""


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
        *,
        skip_model_upload: bool = False,
    ) -> None:
        self._run, self._name, self._tracker, self._status = run, name, tracker, status
        self._look_seconds, self._retry_seconds = look_seconds, retry_seconds
        self._skip_model_upload = skip_model_upload or run.read_config().run.skip_model_upload
        self._ended = threading.Event()
        self._growing: dict[Table, NewRows] = {
            "train": NewRows(run.train_csv),
            "validation": NewRows(run.validation_csv),
        }
        self._begun, self._over, self._fails, self._link = False, False, False, ""
        self._path = run.tracker(name).with_suffix(".json")
        self._path.parent.mkdir(exist_ok=True)
        self._delivered = Delivered.read(self._path) if self._path.exists() else Delivered()

    def finish(self) -> None:
        """Deliver what is on disk, then end; may be called from a signal handler."""
        self._ended.set()

    def follow(self) -> bool:
        """Until the run is over, or `finish`; returns whether everything was delivered.

        Intervals of differences are delivered when the run is over: they hold for all snapshots at once, so each
        further snapshot changes all of them.

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
        over = self._over = is_over(self._run)
        done = self._succeeds(self._catch_up)  # once more: what was written until it was over
        done = done and (not over or self._succeeds(self._deliver_model))
        ended = self._begun and self._succeeds(lambda: self._tracker.end(exit_code(self._run) if over else None))
        if not done:
            again = f"`python run.py track {self._run.path} --to {self._name}` delivers the rest"
            self._status.notice(f"{self._name}: not everything was delivered: {again}")
        return done and ended

    def _catch_up(self) -> None:
        """Deliver everything on disk that has not been."""
        if not self._begun:
            self._begin()
        rows = {table: self._rows(table) for table in get_args(Table)}
        names = TrackerNames(self._run.read_record().tracker_names, self._run.read_metric_descriptions())
        for table, cells in rows.items():  # metrics.json is written before metrics.csv, and is read after it
            self._deliver_rows(table, cells, names)
        for step in sorted(self._delivered.results.keys() - set(self._delivered.sheets)):
            self._deliver_sheet(step)
        best = self._run.read_best()
        if best:
            self._deliver_comparison(best)
        if best and best_key(best) != self._delivered.best:
            self._tracker.best(best)
            self._note(best=best_key(best))
        step = self._delivered.steps.get("train", 0)
        self._status.update("serving", step=step, message=f"{self._name}: {len(self._delivered.results)} evaluations")

    def _begin(self) -> None:
        found = self._tracker.begin(self._run, self._run.read_config())
        if self._delivered.destination not in ("", found.id):
            log.info("%s has nothing of this run yet: everything is delivered again", found.link or self._name)
            self._delivered = Delivered()
            for table in self._growing.values():
                table.rewind()
        self._note(destination=found.id)
        self._begun = True
        if found.link != self._link:
            self._link = found.link
            log.info("%s: %s", self._name, found.link)

    def _rows(self, table: Table) -> list[dict[str, str]]:
        """New rows of a table that grows; metrics.csv, which is replaced whole, as it is."""
        if table not in self._growing:
            return read_rows(self._run.metrics_csv)
        last = self._delivered.steps.get(table, -1)
        return [cells for cells in self._growing[table].read() if int(cells["step"]) > last]

    def _deliver_rows(self, table: Table, cells: list[dict[str, str]], names: TrackerNames) -> None:
        """Of metrics.csv, new and changed numbers."""
        if table not in self._growing:
            cells = [new for cell in cells if (new := self._new_cells(cell, names))]
        for begin in range(0, len(cells), MAX_ROWS):
            chunk = cells[begin : begin + MAX_ROWS]
            self._tracker.rows(table, [parse_row(cell, partial(names.name, table)) for cell in chunk])
            self._note(**self._with_rows(table, chunk))

    def _new_cells(self, cells: dict[str, str], names: TrackerNames) -> dict[str, str]:
        """Numbers of a row of metrics.csv that were blank or another one before; empty where there is none."""
        known = self._delivered.results.get(int(cells["step"]), {})
        new = {column: cell for column, cell in cells.items() if cell and known.get(column) != cell}
        for column in [*new]:
            if column in WITH_ANY or (names.may_change(column) and not self._over):
                del new[column]
        if not new and known.get("status") == cells["status"]:
            return {}
        return {column: cells[column] for column in WITH_ANY if column in cells} | new

    def _with_rows(self, table: Table, rows: Sequence[dict[str, str]]) -> dict[str, Any]:
        if table in self._growing:
            return {"steps": {**self._delivered.steps, table: int(rows[-1]["step"])}}
        results = dict(self._delivered.results)
        for row in rows:
            step = int(row["step"])
            results[step] = {**results.get(step, {}), **row}
        return {"results": results}

    def _deliver_sheet(self, step: int) -> None:
        path = self._run.evaluation(step) / SHEET
        if not path.is_file():
            return
        try:
            with Image.open(path, formats=["WEBP"]) as opened:
                picture = opened.convert("RGB")
        except (OSError, ValueError) as error:  # damaged: no further try can read it
            log.warning("%s cannot be read and is left out: %s", path, error)
        else:
            self._tracker.picture("samples", step, picture)
        self._note(sheets=(*self._delivered.sheets, step))

    def _deliver_comparison(self, best: Best) -> None:
        """Once for each pair of best and newest snapshot."""
        newest = max(
            (step for step, cells in self._delivered.results.items() if cells.get("status") == "ok"), default=0
        )
        key = f"{best.step} {newest}"
        if not newest or key == self._delivered.comparison:
            return
        try:
            picture = comparison.draw(self._run, best.step, newest)
        except (OSError, ValueError, DarkroomError) as error:
            log.warning("pictures of %s and %s cannot be compared: %s", best.step, newest, error)
            picture = None
        if picture:
            self._tracker.picture("comparison", newest, picture)
        self._note(comparison=key)

    def _deliver_model(self) -> None:
        """The snapshot to ship, unless this one was delivered already."""
        best = self._run.read_best()
        model = self._model(best) if best and not self._skip_model_upload else None
        if model and model.digest != self._delivered.model:
            self._status.update("saving", message=f"{self._name}: {self._run.read_record().unit} {model.label}")
            with reading(self._run, model.step):
                if model.folder.exists():  # else another one is the best by now, and its weights were deleted
                    self._tracker.model(model)
                    self._note(model=model.digest)

    def _model(self, best: Best) -> Model | None:
        """None where its files are not, or no longer, those that were evaluated; that is said."""
        folder = self._run.snapshot(best.step)
        try:
            why_not = why_not_shippable(self._run, best.step)
            manifest = read_manifest(folder)
        except (OSError, RunFolderError) as error:
            why_not, manifest = str(error), None
        if why_not or manifest is None:
            self._status.notice(
                f"{self._name}: the best snapshot is not delivered: {why_not or f'{folder} is missing'}"
            )
            return None
        return Model(
            name=self._run.read_config().run.name or self._run.path.name,
            step=best.step,
            label=label(best.step),
            folder=folder,
            digest=manifest.digest(),
            card=card.write(self._run, best, manifest),
            recommended=not best.flagged,
        )

    def _succeeds(self, call: Callable[[], None]) -> bool:
        """Whether nothing was raised. An outage is a notice once, whatever its errors say; so is its end."""
        try:
            call()
        except ConfigError:
            raise
        except Exception as error:
            in_log = not sys.stderr.isatty()  # a person in a terminal reads a sentence
            text = outage.told(self._name, error)
            if in_log or not self._fails:
                log.error("the tracker %s failed: %s", self._name, text, exc_info=in_log)
            if not self._fails:
                self._status.notice(f"{self._name}: {text}")
            self._fails, self._begun = True, False
            for table in self._growing.values():
                table.rewind()  # rows that were read and not delivered come again
            return False
        if self._fails:
            self._fails = False
            self._status.notice(f"{self._name}: works again; what it had missed is delivered")
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
    """Another one where a person would read something else."""
    told = best.model_copy(update={"created": ""})
    return f"{best.step} {hashlib.sha256(told.to_json()).hexdigest()[:16]}"
