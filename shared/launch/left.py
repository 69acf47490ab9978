"""What is still to be evaluated of a run, in words: a person counts own files, and not averages and what is evaluated
again."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from shared.run_folder.pending import BASE_MODEL, unaveraged, unevaluated
from shared.run_folder.run_dir import RunDir, steps_in, strength_kind


def left(run: RunDir) -> str:
    """`1 average, the final of the best 3, strengths of the best`; empty: nothing is."""
    return ", ".join(_parts(run))


def named(steps: Collection[int]) -> str:
    """`the base model, 5 snapshots`; empty: none. A person counts own files, and the base model is none of them."""
    snapshots = len(set(steps) - {BASE_MODEL})
    base = ["the base model"] if BASE_MODEL in steps else []
    return ", ".join([*base, *([_count(snapshots, "snapshot")] if snapshots else [])])


def _parts(run: RunDir) -> Iterator[str]:
    first, best = unevaluated(run), run.read_best()
    if first:
        yield named(first)
    if best is None:
        return
    if averages := len(unaveraged(run)):
        yield _count(averages, "average")
    final = bool({BASE_MODEL, *best.finalists} - steps_in(run.confirmations)) if best.finalists else False
    if final:
        yield f"the final of the best {len(best.finalists)}"  # averages may be among them
    settings = run.read_config().evaluation
    known = "strengths" in settings.model_fields_set  # no strengths are drawn in a run of an older version
    strengths = best.strengths or (settings.strengths if known and (first or averages or final) else ())
    if any(best.step not in steps_in(run.path / strength_kind(one)) for one in strengths):
        yield "strengths of the best"


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
