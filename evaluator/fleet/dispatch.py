"""Gives the work of a run to the members of a fleet, and keeps the tables.

A snapshot is the piece of work (docs/decisions/0038-a-fleet-shares-snapshots.md). A member takes it under its claim, as
an evaluator without a fleet does, so that both can share a run. The tables are rebuilt here alone.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from evaluator.agenda import DONE, TRY_AGAIN, Agenda, Outcome
from evaluator.fleet.member import News
from shared.run_folder.pending import Work
from shared.run_folder.run_dir import steps_in

log = logging.getLogger(__name__)

WAIT_SECONDS = 0.5
MAX_LOSSES = 3
"""Members that died at one work before it is left."""
SEEN_SECONDS = 60.0
"""A result may become visible on this machine so much later than its member says that it is published."""
PLACE_SECONDS = 60.0
"""Without any member, before that is said."""


class Crew(Protocol):
    """The members, as `evaluator.fleet.crew.Crew` has them on Ray."""

    @property
    def num_free(self) -> int:
        """Members that wait for work."""
        ...

    @property
    def works(self) -> set[Work]:
        """What members are at."""
        ...

    def give(self, work: Work, name: str, message: str, *, patient: bool) -> None:
        """Let a free member do this."""
        ...

    def tend(self) -> None:
        """Place members where there is room."""
        ...

    def wait(self, seconds: float) -> list[News]:
        """What members have done within this time."""
        ...


@dataclass
class Dispatch:
    """One agenda, many members."""

    agenda: Agenda
    crew: Crew
    _published: dict[Work, float] = field(default_factory=dict[Work, float])
    """Work that a member has published → when that was said (monotonic seconds)."""
    _losses: Counter[Work] = field(default_factory=Counter[Work])
    _member_seen: float = field(default_factory=time.monotonic)

    def work(self) -> Outcome:
        """Until told to end; with run_mode to drain, until nothing is left that can be done.

        Raises:
            DarkroomError: no machine can evaluate this run, or no result can be published.
        """
        if (outcome := self.agenda.begin()) is not None:
            return outcome
        outcome = self._until_told()
        self.agenda.end()
        return outcome

    def _until_told(self) -> Outcome:
        run_mode = self.agenda.run_mode
        while run_mode.current != "end":
            self.crew.tend()
            works = self._unfinished()
            if works and self.agenda.must_rebuild_for(works):
                self.agenda.results_table.rebuild()
                works = self._unfinished()
            given = self._give(works)
            outcome = None if given or self.crew.works else self._outcome(works)
            if outcome is not None:
                return outcome
            if not self.agenda.results_table.is_current():
                self.agenda.keep_tables()
            self._hear(WAIT_SECONDS)
        while self.crew.works:
            self._hear(WAIT_SECONDS)
        self.agenda.results_table.rebuild()
        return DONE

    def _unfinished(self) -> list[Work]:
        """As of the run folder, without what was published and is not seen there yet, and what costs members."""
        works = self.agenda.unfinished()
        now = time.monotonic()
        self._published = {
            work: when
            for work, when in self._published.items()
            if now - when < SEEN_SECONDS and work.step not in steps_in(self.agenda.run.path / work.kind)
        }
        return [work for work in works if work not in self._published]

    def _give(self, works: list[Work]) -> int:
        """Give free members work; returns how many got one."""
        free = self.crew.num_free
        left = [work for work in works if work not in self.crew.works and self._losses[work] < MAX_LOSSES]
        ready = self.agenda.ready(left)[:free] if free and left else []
        for work in ready:
            name = self.agenda.name(work.step)
            self.crew.give(work, name, name, patient=self.agenda.is_patient(work))
        if ready:
            self.agenda.status.update(
                "evaluating", step=ready[-1].step, message=f"{len(self.crew.works)} at work, {len(left)} waiting"
            )
        return len(ready)

    def _outcome(self, works: list[Work]) -> Outcome | None:
        """The exit code, where nothing is at work: nothing is left, or nothing that can be done."""
        agenda = self.agenda
        if not agenda.results_table.is_current():
            agenda.results_table.rebuild()
            return None
        if agenda.run_mode.current == "drain" and not works and not self._published:
            return DONE
        waits_for_members = not self.crew.num_free and any(self._losses[work] < MAX_LOSSES for work in works)
        if waits_for_members:
            self._say_that_none_is_there()
            return None
        if agenda.run_mode.once and works and not agenda.waits_for_the_base_model(works):
            log.warning("not everything is evaluated: %s", agenda.idle_message(works))
            return TRY_AGAIN
        agenda.status.update("idle", message=agenda.idle_message(works))
        return None

    def _say_that_none_is_there(self) -> None:
        if time.monotonic() - self._member_seen > PLACE_SECONDS:
            self._member_seen = float("inf")
            text = "no evaluator is ready yet: they load the model, or wait for a place that others have on the cluster"
            log.warning(text)
            self.agenda.status.notice(text)

    def _hear(self, seconds: float) -> None:
        for news in self.crew.wait(seconds):
            self._take_in(news)
        if self.crew.num_free:
            self._member_seen = time.monotonic()

    def _take_in(self, news: News) -> None:
        agenda, work, done = self.agenda, news.work, news.done
        name = agenda.name(work.step)
        if done is None:
            self._losses[work] += 1
            left = self._losses[work] >= MAX_LOSSES
            again = f"left, because {MAX_LOSSES} evaluators were lost at it" if left else "done again"
            text = f"the evaluator on {news.where} is lost: {news.reason}; {name} is {again}"
            log.warning(text)
            agenda.status.notice(text)
        elif done.error:
            raise done.error
        elif done.status == "out of memory":
            agenda.defer(work)
        elif done.status != "nothing":
            self._published[work] = time.monotonic()
            agenda.tell(work, done, f" on {news.where}")
