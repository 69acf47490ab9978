from __future__ import annotations

import time
from datetime import UTC, datetime

from dashboard.data.reader import RunReader
from dashboard.server.jobs.rechecks import Rechecks
from dashboard.story.screen import screen
from evaluator.replay import replay
from examples.fake_run.run import FakeRun


def test_a_verdict_of_an_older_version_is_computed_again_and_the_difference_is_said(finished: FakeRun) -> None:
    reader, rechecks = RunReader(finished.run, finished.record.run_id), Rechecks()

    def cautions() -> tuple[str, ...]:
        return screen(reader, datetime.now(UTC), UTC, rechecks=rechecks).verdict.cautions

    best = finished.run.read_best()
    assert best
    assert not any("Computed again" in one for one in cautions()), "this version's code wrote it"
    best.model_copy(update={"created": "2020-01-01T00:00:00+00:00"}).write(finished.run.best)
    deadline = time.monotonic() + 60
    while not cautions() and time.monotonic() < deadline:
        time.sleep(0.2)
    found = replay(finished.run).best
    assert found
    assert found.gist != best.gist, "the numbers of this run are invented"
    again = rechecks.of(reader, reader.best())
    assert again
    assert again.gist == found.gist
    assert f"`python run.py verdict {finished.run.path} --write`" in cautions()[0]
