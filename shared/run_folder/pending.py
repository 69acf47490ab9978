"""What still waits in a run, as everybody can tell from the run folder alone.

Evaluators take their work from here, in the order of `in_order` (`evaluator/work_queue.py` adds the claims); the
supervisor, the terminal and the dashboard count it. Two questions are alike and not the same: a step without a *result*
has still to be evaluated; a step without a *row* in metrics.csv may have a result whose evaluator died before it ranked
it.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.config.schema import EvaluationConfig
from shared.run_folder import requests
from shared.run_folder.averages import is_average
from shared.run_folder.records.request import Request
from shared.run_folder.run_dir import ResultKind, RunDir, steps_in, strength_kind, strength_of
from shared.run_folder.tables import listed

BASE_MODEL = 0


@dataclass(frozen=True)
class Work:
    """One result to be made."""

    step: int
    kind: ResultKind = "evaluations"

    @property
    def follows_the_verdict(self) -> bool:
        """Whether the verdict on all results so far says that it is to be made."""
        return is_average(self.step) or self.kind == "confirmations" or strength_of(self.kind) is not None


def unfinished(run: RunDir, settings: EvaluationConfig, *, trainer_lives: bool) -> list[Work]:
    """Everything that can be evaluated now, in order, also what other evaluators are working on: while the base model
    has no result of a kind, successful or not, it is the only work of it."""
    works = in_order(run, settings, trainer_lives=trainer_lives)
    of_base = {Work(BASE_MODEL), Work(BASE_MODEL, "confirmations")}
    return [work for work in works if work in of_base] or works


def in_order(run: RunDir, settings: EvaluationConfig, *, trainer_lives: bool) -> list[Work]:
    """Everything without a result, in the order of evaluation: the base model, requests, snapshots.

    Only after training has ended and every snapshot has a result are averages of neighbours evaluated, then the best
    ones again, and then the one to ship at other strengths.
    """
    by_request, wanted = requested(run), due(run, settings, trainer_lives=trainer_lives)
    base = [Work(step) for step in wanted & {BASE_MODEL}]
    rest = [Work(step) for step in sorted(wanted - {BASE_MODEL}, reverse=settings.order == "newest")]
    if not (by_request or wanted or trainer_lives):
        averages = [Work(number) for number in without_average(run)]
        again = [Work(step, "confirmations") for step in sorted(unconfirmed(run))]
        rest = averages or again or at_other_strengths(run)
    return list(dict.fromkeys([*base, *by_request, *rest]))


def without_result(run: RunDir) -> set[int]:
    """The base model and snapshots with no published result; one that was skipped has a result."""
    evaluated = steps_in(run.evaluations)
    return ({BASE_MODEL} - evaluated) | run.snapshots_to_evaluate(besides=evaluated)


def due(run: RunDir, settings: EvaluationConfig, *, trainer_lives: bool) -> set[int]:
    """Steps without a result that shall have one, as far as is known while the trainer lives."""
    return without_result(run) - skipped(run, settings, so_far=trainer_lives)


def skipped(run: RunDir, settings: EvaluationConfig, *, so_far: bool = False) -> set[int]:
    """Snapshots between every `settings.every`-th, counted from the first; never the last, but `so_far`, while a later
    one may come, not even that is evaluated."""
    if settings.every == 1:
        return set()
    steps = sorted(run.snapshots_to_evaluate() | run.deleted_snapshots())  # a deletion moves no other's place
    requested = {request.step for request in requests.open_requests(run, "evaluate") if not request.prompts}
    wanted = {*steps[settings.every - 1 :: settings.every], *([] if so_far else steps[-1:]), *requested}
    return set(steps) - wanted


def requested(run: RunDir) -> list[Work]:
    """What people asked to have evaluated or drawn, oldest first."""
    return [work for request in requests.open_requests(run, "evaluate") if (work := work_of(run, request))]


def work_of(run: RunDir, request: Request) -> Work | None:
    """What a request for an evaluation asks for; None: it is done, or there is no such snapshot."""
    if not is_known(run, request.step):
        return None
    work = Work(request.step or BASE_MODEL, f"{run.requested.name}/{request.id}" if request.prompts else "evaluations")
    return None if is_done(run, work) else work


def is_known(run: RunDir, step: int | None) -> bool:
    """Whether this can be evaluated: the base model, or a snapshot of this run."""
    return step is not None and step in {BASE_MODEL} | run.snapshots_to_evaluate() | run.published_averages().keys()


def is_done(run: RunDir, work: Work) -> bool:
    """Whether there is a result; that a snapshot was skipped is none to who asks for it."""
    if work.step not in steps_in(run.path / work.kind):
        return False
    result = run.read_result(work.step, work.kind)
    return result is None or result.status != "skipped"


def is_given_up(run: RunDir, work: Work) -> bool:
    """Whether there is no such snapshot any more: another one was taken in its place, or under another number."""
    is_own = work.step != BASE_MODEL and not is_average(work.step)
    return is_own and work.step not in run.snapshots_to_evaluate()


def unevaluated(run: RunDir) -> set[int]:
    """Steps without a result, or whose result metrics.csv does not list yet; the base model's counts once there is a
    snapshot to compare with it."""
    snapshots = run.snapshots_to_evaluate()
    done = listed(run.metrics_csv) & steps_in(run.evaluations)  # a row outlives a result that was removed
    return ({BASE_MODEL} | snapshots) - done if snapshots else set()


def unaveraged(run: RunDir) -> list[int]:
    """Averages of snapshots without a result, or whose result averages.csv does not list yet; none while a snapshot
    waits for its first evaluation."""
    best = run.read_best()
    if best is None or not best.averages or unevaluated(run):
        return []
    known = listed(run.averages_csv) & steps_in(run.evaluations)
    return [number for number in best.averages if number not in known]


def without_average(run: RunDir) -> list[int]:
    """Those of them that have no result."""
    return [number for number in unaveraged(run) if number not in steps_in(run.evaluations)]


def unconfirmed(run: RunDir) -> set[int]:
    """Finalists, and the base model, not yet evaluated again; none while a snapshot or an average waits for its first
    evaluation."""
    best = run.read_best()
    if best is None or not best.finalists or unevaluated(run) or unaveraged(run):
        return set()
    return {BASE_MODEL, *best.finalists} - steps_in(run.confirmations)


def at_other_strengths(run: RunDir) -> list[Work]:
    """The snapshot to ship at strengths without a result; none while another may still win."""
    best = run.read_best()
    if best is None or unevaluated(run) or unaveraged(run) or unconfirmed(run):
        return []
    works = [Work(best.step, strength_kind(strength)) for strength in best.strengths]
    return [work for work in works if work.step not in steps_in(run.path / work.kind)]


def left_to_evaluate(run: RunDir) -> list[Work]:
    """What keeps a trained run from being complete: steps to be evaluated, then averages of them, then finalists to be
    evaluated again, then the one to ship at other strengths."""
    first = [Work(step) for step in sorted(unevaluated(run)) or unaveraged(run)]
    again = [Work(step, "confirmations") for step in sorted(unconfirmed(run))]
    return first or again or at_other_strengths(run)
