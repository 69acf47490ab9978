"""Which snapshots keep their weights under `train.snapshots_total_limit`, and the deletion of the others.

One process deletes: the evaluator that has rebuilt the tables does it right after, under the same lock
(`metrics_lock`). The record of a deletion is on the disk before the weights go, and the folder is renamed before it is
deleted: a kill leaves the snapshot whole, or gone with its reason. Results and pictures stay.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Mapping

from filelock import FileLock, Timeout

from evaluator.selection.ranking import Ranking
from shared.errors import RunFolderError
from shared.files.publication import fsync, read_manifest, take_away
from shared.run_folder import notes, pending, requests
from shared.run_folder.averages import ends, file_stem
from shared.run_folder.heartbeat import snapshots_may_come
from shared.run_folder.records.best import Best
from shared.run_folder.records.deleted_snapshot import DeletedSnapshot
from shared.run_folder.run_dir import RunDir
from shared.run_folder.sharing import leases
from shared.run_folder.tables import read_rows
from shared.run_folder.votes import read_votes

log = logging.getLogger(__name__)


def retain(run: RunDir, limit: int | None, found: Ranking) -> tuple[int, ...]:
    """Delete the weights of the least worthy snapshots beyond the limit; their steps. limit: None keeps all.

    found: the ranking of all results. The caller holds `metrics_lock`. Where a file that could name a snapshot to keep
    cannot be read, nothing is deleted.
    """
    best = run.read_best()
    if limit is None or best is None or run.read_record().imported:
        return ()
    there = set(run.published_snapshots())
    if len(there) <= limit:
        return ()
    try:
        kept = needed(run, best, there)
    except RunFolderError as error:
        log.warning("no weights are deleted: %s", error)
        return ()
    statuses = {int(row["step"]): row["status"] for row in read_rows(run.metrics_csv)}
    going = beyond(limit, there, kept, by_worth(found, statuses))
    return tuple(step for step in going if delete(run, step, limit))


def by_worth(found: Ranking, statuses: Mapping[int, str]) -> list[int]:
    """Steps that may go, the worthiest first; one that could not be evaluated is not among them: nobody has judged it.

    By the smoothed composite, flagged ones behind the others; then those without a composite, the newest first; then
    skipped ones. Where no metric ranks the snapshots, the newest first. statuses: of the rows of metrics.csv.
    """
    ranked: list[int] = []
    if not found.is_unmeasured:
        flagged, level = found.flagged, found.trend.level if found.candidates else None
        ranked = [summary.step for summary in found.snapshots]
        ranked.sort(key=lambda step: (step in flagged, level(step) if level else 0.0, -step))
    rest = sorted((step for step, status in statuses.items() if status == "ok" and step not in ranked), reverse=True)
    skipped = sorted((step for step, status in statuses.items() if status == "skipped"), reverse=True)
    return [*ranked, *rest, *skipped]


def beyond(limit: int, there: Collection[int], kept: Collection[int], worth: list[int]) -> list[int]:
    """Steps to delete, the least worthy first, so that `limit` are left, or only `kept` ones and those nobody judged.

    there: steps with weights; worth: see `by_worth`.
    """
    able = [step for step in reversed(worth) if step in there and step not in kept]
    return able[: max(0, len(there) - limit)]


def needed(run: RunDir, best: Best, there: Collection[int]) -> set[int]:
    """Steps whose weights stay whatever they are worth: the newest; what the verdict names or has on trial; what waits
    to be evaluated; what people starred, voted on or exported; what somebody is reading.

    Raises:
        RunFolderError: stars or votes cannot be read.
    """
    trial = {best.step, *best.surer[:1], *(best.confirmation.finalists if best.confirmation else ())}
    if not snapshots_may_come(run):  # the end has begun: averages, then the final
        trial |= {*best.finalists, *(step for number in best.averages for step in _of(number, there))}
    waiting = pending.unevaluated(run) | {request.step or 0 for request in requests.open_requests(run, "evaluate")}
    read = {step for number in leases.all_claimed(run) for step in _of(number, there)}
    starred = set(notes.read_notes(run).starred)
    voted = {step for vote in read_votes(run).given for step in vote.steps}
    return {max(there), *trial, *waiting, *read, *starred, *voted, *_exported(run, there)}


def delete(run: RunDir, step: int, limit: int) -> bool:
    """Delete the weights of a step, unless somebody began to read it or starred it meanwhile; whether it was done."""
    folder = run.snapshot(step)
    run.deleted.mkdir(exist_ok=True)
    run.claims.mkdir(exist_ok=True)
    try:
        with notes.lock(run), FileLock(run.claims / ".lock"):
            manifest = read_manifest(folder)
            is_wanted = any(step in _of(number, {step}) for number in leases.all_claimed(run))
            if manifest is None or is_wanted or step in notes.read_notes(run).starred:
                return False
            DeletedSnapshot(snapshot=manifest, limit=limit).write(run.deletion(step))
            fsync(run.deleted)
            stage = take_away(run.staging, folder)
    except (RunFolderError, Timeout, PermissionError) as error:  # Windows: somebody has a file of it open
        log.warning("the weights of step %d are not deleted yet: %s", step, error)
        return False
    fsync(run.snapshots)
    shutil.rmtree(stage, ignore_errors=True)
    log.info("deleted the weights of step %d: train.snapshots_total_limit is %d", step, limit)
    return True


def _of(number: int, there: Collection[int]) -> set[int]:
    """The step itself; of an average, those that lie between its ends."""
    first, last = ends(number) or (number, number)
    return {step for step in there if first <= step <= last}


def _exported(run: RunDir, there: Collection[int]) -> set[int]:
    names = [path.name for path in run.exports.iterdir()] if run.exports.is_dir() else []
    return {step for step in there if any(f"-{file_stem(step)}-" in name for name in names)}
