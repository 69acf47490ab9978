"""What an evaluator still has to do before a run is evaluated, as everybody can tell from the run folder."""

from __future__ import annotations

from shared.run_folder.run_dir import RunDir, steps_in
from shared.run_folder.tables import read_rows

BASE_MODEL = 0
NUM_FINALISTS = 3
"""Snapshots evaluated again at the end, with the base model."""


def unevaluated(run: RunDir) -> set[int]:
    """Steps metrics.csv does not list yet; the base model's counts once there is a snapshot to compare with it.

    A published result is not enough: its evaluator may have died before it wrote what follows from it.
    """
    snapshots = run.snapshots_to_evaluate()
    listed = {int(row["step"]) for row in read_rows(run.metrics_csv)}
    return ({BASE_MODEL} | snapshots) - listed if snapshots else set()


def unconfirmed(run: RunDir) -> set[int]:
    """Finalists, and the base model, not yet evaluated again; none while a snapshot waits for its first evaluation."""
    best = run.read_best()
    if best is None or not best.finalists or unevaluated(run):
        return set()
    return {BASE_MODEL, *best.finalists} - steps_in(run.confirmations)
