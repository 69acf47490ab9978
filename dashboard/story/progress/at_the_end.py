"""What is evaluated when training is over, before it is due: averages of neighbours, the best ones again, the one to
ship at other strengths."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import ceil

from dashboard.data.reader import RunReader
from shared.run_folder.averages import is_average
from shared.run_folder.pending import Work
from shared.run_folder.records.best import Best
from shared.run_folder.run_dir import strength_of

CONFIRMATIONS = "confirmations"


@dataclass(frozen=True)
class AtTheEnd:
    """Evaluations of each kind, one kind after the other; those that can be taken already are not counted."""

    averages: int = 0
    finals: int = 0
    """The best ones again, with the base model."""
    strengths: int = 0

    def seconds(self, evaluation: float, final: float, num_evaluators: int) -> float:
        """How long all of them take. evaluation, final: how long one takes; strengths are drawn as evaluations are."""
        again = bool(self.finals) + _rounds(self.finals - 1, num_evaluators)  # the base model's comes first
        others = _rounds(self.averages, num_evaluators) + _rounds(self.strengths, num_evaluators)
        return others * evaluation + again * final


def at_the_end(reader: RunReader, best: Best | None, works: Iterable[Work], planned: Collection[int]) -> AtTheEnd:
    """Of a run. works: what can be evaluated now; planned: steps of the snapshots to come.

    What the config of a run does not name is not evaluated: an older version made the run.
    """
    settings, works = reader.config.evaluation, list(works)
    named = settings.model_fields_set
    num_snapshots = len({*reader.snapshot_steps(), *planned})
    averages = min(settings.averages, max(0, num_snapshots - 1)) if "averages" in named else 0
    finals = 1 + min(settings.finalists, num_snapshots) if settings.confirm_prompts else 0
    if best and not best.finalists:
        finals = 0
    strengths = len(settings.strengths) if "strengths" in named else 0
    if not (works or planned) or any(strength_of(work.kind) for work in works):
        return AtTheEnd()
    if any(work.kind == CONFIRMATIONS for work in works):
        return AtTheEnd(strengths=strengths)
    if any(is_average(work.step) and work.kind == "evaluations" for work in works):
        return AtTheEnd(finals=finals, strengths=strengths)
    return AtTheEnd(averages, finals, strengths)


def _rounds(count: int, num_evaluators: int) -> int:
    return ceil(max(0, count) / num_evaluators)
