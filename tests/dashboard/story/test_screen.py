from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime

from dashboard.data.reader import RunReader
from dashboard.story.screen import screen
from examples.fake_run import FakeRun


def test_the_screen_of_a_finished_run_is_a_json_document(finished: FakeRun) -> None:
    shown = screen(RunReader(finished.run, finished.record.run_id), datetime.now(UTC), UTC)
    assert json.loads(json.dumps(asdict(shown), allow_nan=False))["run"] == "finished"
    assert shown.verdict.headline == "Ship step 120"
    assert [cell.step for cell in shown.strip] == [0, 40, 80, 120, 160, 200]
