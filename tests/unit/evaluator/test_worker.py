"""One worker and its status."""

from __future__ import annotations

from typing import NoReturn

from evaluator.worker import Worker
from shared.run_folder.heartbeat import hold_slot
from tests.conftest import RunMaker


def test_waiting_for_the_card_counts_as_work(make_paper_run: RunMaker) -> None:
    """A trainer may load for long before it leaves the card: its evaluator does not hang."""

    def build() -> NoReturn:
        raise AssertionError

    run, answers = make_paper_run(), iter([True, False])
    with hold_slot(run, "evaluator") as status:
        worker = Worker(run, status, run.read_config(), build, lambda: next(answers))
        before = status.record.progress
        assert worker._may_wait()
        assert not worker._may_wait()
        assert status.record.progress == before + 2
