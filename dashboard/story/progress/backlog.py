"""What is left to evaluate, in which order, and how long it will take: the one place that counts it."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from statistics import median

from dashboard.data.reader import RunReader, version_of
from dashboard.data.speed import pace
from dashboard.story.progress.at_the_end import CONFIRMATIONS, AtTheEnd, at_the_end
from dashboard.story.progress.programs import Programs
from shared.config.save_interval import steps_due
from shared.data.references import further, own_prompts
from shared.errors import ConfigError, RunFolderError
from shared.run_folder.pending import Work, in_order
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import steps_in
from shared.run_folder.sharing.leases import living_claims
from shared.run_folder.times import seconds_since, utc_now

RECENT = 20
"""Evaluations whose usual duration counts."""


@dataclass(frozen=True)
class Backlog:
    """Work of the evaluators."""

    at_work: tuple[Work, ...]
    """What living evaluators are evaluating."""
    waiting: tuple[Work, ...]
    """In the order in which it will be taken."""
    planned: tuple[int, ...]
    """Snapshots still to be trained, as far as their steps are known."""
    left_out: frozenset[int]
    """Those of them that will not be evaluated: see `evaluation.every`."""
    at_the_end: AtTheEnd
    """What follows when all of that is evaluated."""
    training_seconds: float | None
    """Until the last step; None: not known, or not training."""
    ends: Mapping[Work, float]
    """Seconds until a result, as far as that can be told."""
    verdict_seconds: float | None
    """Until nothing is left to evaluate; None: not known, as while another trainer's LoRAs may still come."""

    @property
    def is_empty(self) -> bool:
        """Whether everything is evaluated that can be so far."""
        return not (self.at_work or self.waiting)

    def steps(self, works: Iterable[Work]) -> list[int]:
        """Of first evaluations only."""
        return [work.step for work in works if work.kind == "evaluations"]


@dataclass(frozen=True)
class Durations:
    """How long things usually take, in seconds."""

    evaluation: float
    final: float

    def of(self, work: Work) -> float:
        """Of an evaluation or a final."""
        return self.final if work.kind == CONFIRMATIONS else self.evaluation


def backlog(reader: RunReader, programs: Programs, best: Best | None, now: datetime) -> Backlog:
    """What is left, and when it will be done."""
    works = _works(reader, programs)
    begun = _begun(reader, works, now) if programs.evaluating else {}
    at_work, waiting = [work for work in works if work in begun], [work for work in works if work not in begun]
    planned = _planned(reader) if programs.trains else ()
    left_out = _left_out(reader, planned)
    later = at_the_end(reader, best, works, planned)
    training = _training_seconds(reader, programs, planned)
    results = reader.metrics_version(), version_of(reader.run.confirmations)
    usual, num_evaluators = reader.keep(("usual", *results), lambda: _usual(reader)), len(programs.evaluating)
    ends, last = dict[Work, float](), None
    if usual and num_evaluators and (training is not None or not programs.trains):
        busy = [max(0.1 * usual.of(work), usual.of(work) - begun[work]) for work in at_work]
        arrivals = _arrivals(reader, planned, left_out, training or 0.0)
        newest = reader.config.evaluation.order == "newest"
        ends = timeline(at_work, busy, waiting, arrivals, usual, num_evaluators, newest_first=newest)
        if not programs.imports:
            last = max([training or 0.0, *ends.values()])
            last += later.seconds(usual.evaluation, usual.final, num_evaluators)
    return Backlog(tuple(at_work), tuple(waiting), planned, left_out, later, training, ends, last)


def _works(reader: RunReader, programs: Programs) -> list[Work]:
    """Everything without a result; looked up again when something was published, asked or answered."""
    run, lives = reader.run, programs.snapshots_may_come
    paths = (run.snapshots, run.evaluations, run.confirmations, run.control, run.best, run.metrics_csv, run.config)
    key = ("works", lives, *map(version_of, paths))

    def works() -> list[Work]:
        with suppress(RunFolderError):  # the alerts name the damaged file
            return in_order(run, reader.config.evaluation, trainer_lives=lives)
        return []

    return reader.keep(key, works)


def _begun(reader: RunReader, works: Sequence[Work], now: datetime) -> dict[Work, float]:
    """Work that a living evaluator has claimed → seconds since."""
    claims = ((kind, claim) for kind in {work.kind for work in works} for claim in living_claims(reader.run, kind))
    return {Work(claim.step, kind): max(0.0, seconds_since(claim.created or utc_now(), now)) for kind, claim in claims}


def _planned(reader: RunReader) -> tuple[int, ...]:
    """Steps of the snapshots to come."""
    train = reader.config.train
    key = ("save steps", version_of(reader.run.config))
    steps = reader.keep(key, lambda: steps_due(train.snapshot_steps, 0, train.max_train_steps, _epoch(reader)))
    reached = max([reader.last_step(), *reader.snapshot_steps()])
    return tuple(step for step in steps if step > reached)


def _epoch(reader: RunReader) -> float:
    """Optimizer updates of one pass over the pictures."""
    train, data = reader.config.train, reader.run.read_record().dataset
    pictures = train.train_batch_size * train.gradient_accumulation_steps * train.num_processes
    return (data.pass_length or data.num_images) / pictures or 1.0


def _left_out(reader: RunReader, planned: Sequence[int]) -> frozenset[int]:
    every = reader.config.evaluation.every
    steps = sorted({*reader.snapshot_steps(), *planned})
    return frozenset(planned) - {*steps[every - 1 :: every], *steps[-1:]}


def _training_seconds(reader: RunReader, programs: Programs, planned: Sequence[int]) -> float | None:
    trainer = programs.trainer
    if trainer is None or not programs.trains or trainer.state == "paused":
        return None
    speed = pace(reader.train(), trainer.started)
    return (reader.config.train.max_train_steps - reader.last_step()) * speed.step_seconds if speed else None


def _usual(reader: RunReader) -> Durations | None:
    """From what evaluations took; None before the first."""
    took = [row["evaluation_seconds"] for row in reader.rows().values() if row["status"] == "ok"]
    known = [seconds for seconds in took if isfinite(seconds) and seconds > 0][-RECENT:]
    if not known:
        return None
    again = [seconds for step in steps_in(reader.run.confirmations) if (seconds := _took(reader, step))]
    usual = median(known)
    return Durations(usual, median(again) if again else usual * _times_as_many_pictures(reader))


def _took(reader: RunReader, step: int) -> float:
    """Seconds that a final took; 0 where its record does not say."""
    result = reader.result(step, CONFIRMATIONS)
    return sum(result.seconds.values()) if result and result.status == "ok" else 0.0


def _times_as_many_pictures(reader: RunReader) -> float:
    """In a final as in an evaluation."""
    settings, prompts = reader.config.evaluation, num_prompts(reader)
    more = len(further(reader.config, reader.run.read_record()))
    return (prompts + more) * settings.confirm_seeds / (prompts * settings.num_seeds)


def num_prompts(reader: RunReader) -> int:
    """Held-out captions and prompts of a person's own, by which snapshots are evaluated."""
    settings = reader.config.evaluation
    held_out = reader.run.read_record().dataset.held_out[: settings.num_prompts]
    return len(held_out) + _num_own(reader) or settings.num_prompts


def _num_own(reader: RunReader) -> int:
    """Prompts of a person's own; none where the run's copy of them cannot be read."""
    try:
        return len(own_prompts(reader.run, reader.config))
    except ConfigError:
        return 0


def _arrivals(
    reader: RunReader, planned: Sequence[int], left_out: Collection[int], seconds: float
) -> deque[tuple[float, int]]:
    """(seconds until it is published, step) of the snapshots to come that will be evaluated."""
    first, last = reader.last_step(), reader.config.train.max_train_steps
    share = seconds / (last - first) if last > first else 0.0
    return deque((share * (step - first), step) for step in planned if step not in left_out)


def timeline(
    at_work: Sequence[Work],
    busy: Sequence[float],
    waiting: Sequence[Work],
    arrivals: deque[tuple[float, int]],
    usual: Durations,
    num_evaluators: int,
    *,
    newest_first: bool,
) -> dict[Work, float]:
    """Work → seconds until its result, if each evaluator takes what comes next as soon as it is free.

    Of the snapshots to come, a later one is never promised earlier: which of two that wait by then is taken first
    depends on seconds that nobody knows yet. The times are those of the results to come, in the order of their steps.

    Args:
        at_work: what is being evaluated.
        busy: seconds until each of it has a result.
        waiting: in the order in which it will be taken.
        arrivals: (seconds until it is published, step) of the snapshots to come, ascending.
        usual: how long an evaluation takes.
        num_evaluators: at least as many as are busy.
        newest_first: whether a snapshot is taken before those that wait already.
    """
    to_come = [Work(step) for _, step in arrivals]
    ends = dict(zip(at_work, busy, strict=True))
    free = [*busy, *[0.0] * (num_evaluators - len(busy))]
    heapq.heapify(free)
    queue = deque(waiting)
    while queue or arrivals:
        time = heapq.heappop(free)
        if not queue:
            time = max(time, arrivals[0][0])
        while arrivals and arrivals[0][0] <= time:
            (queue.appendleft if newest_first else queue.append)(Work(arrivals.popleft()[1]))
        work = queue.popleft()
        ends[work] = time + usual.of(work)
        heapq.heappush(free, ends[work])
    return ends | dict(zip(to_come, sorted(ends[work] for work in to_come), strict=True))
