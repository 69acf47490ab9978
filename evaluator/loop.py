"""The loop of an evaluator: take the next work, evaluate it, rebuild the tables, wait. Many can share one run."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from evaluator.agenda import DONE, TRY_AGAIN, Agenda, Outcome
from evaluator.worker import Worker
from shared.run_folder.pending import Work

log = logging.getLogger(__name__)


@dataclass
class EvaluationLoop:
    """One worker and its agenda."""

    agenda: Agenda
    worker: Worker

    def work(self) -> Outcome:
        """Until told to end; with run_mode to drain, until nothing is left that can be done."""
        if (outcome := self.agenda.begin()) is not None:
            return outcome
        _ = self.worker.evaluator  # loaded before the first snapshot comes
        outcome = self._until_told()
        self.agenda.end()
        return outcome

    def _until_told(self) -> Outcome:
        agenda, run_mode = self.agenda, self.agenda.run_mode
        while run_mode.current != "end":
            run_mode.wake.clear()
            works = agenda.unfinished()
            ready = agenda.ready(works)
            if ready and not agenda.must_rebuild_for(ready):
                self._take(ready[0])
            elif not agenda.results_table.is_current():
                agenda.results_table.rebuild()
            elif run_mode.current == "drain" and not works:
                return DONE
            elif run_mode.once and not agenda.waits_for_the_base_model(works):
                log.warning("not everything is evaluated: %s", agenda.idle_message(works))
                return TRY_AGAIN
            else:
                agenda.status.update("idle", message=agenda.idle_message(works))
                run_mode.wake.wait(agenda.config.evaluation.rescan_seconds)
        return DONE

    def _take(self, work: Work) -> None:
        agenda = self.agenda
        told = agenda.name(work.step), agenda.what(work)
        taken = self.worker.take(work, *told, patient=agenda.is_patient(work))
        if taken == "out of memory":
            agenda.defer(work)
        elif taken is not None:
            agenda.keep_tables()
            agenda.tell(work, taken)
