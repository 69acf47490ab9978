from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd

from dashboard.data import alert_texts, events
from dashboard.data.reader import RunReader
from dashboard.story.screen import screen
from dashboard.text import language
from examples.fake_run.run import FakeRun
from examples.fake_run.states import write_failure
from shared.followers.alerts import Alert, Bytes, Seconds
from shared.run_folder.heartbeat import hold_role, read_status
from shared.run_folder.tables import TRAIN_COLUMNS, Appender

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_an_alert_is_told_in_the_viewers_language_and_units() -> None:
    stalled = Alert("stalled", {"time": Seconds(90), "usual": Seconds(2)})
    assert alert_texts.sentence(stalled) == "No step has finished for 1 min 30 s; a step usually takes 2 s."
    failed = Alert("failed", {"program": "Trainer", "message": "loss {nan}", "pid": 1})
    try:
        language.use("zh-Hant")
        assert "1 分 30 秒" in alert_texts.sentence(stalled)
        assert alert_texts.sentence(failed).startswith("訓練程式")
        assert "loss {nan}" in alert_texts.sentence(failed)
        assert "9.5 GB" in alert_texts.sentence(Alert("low disk", {"size": Bytes(9.5e9)}))
    finally:
        language.use("en")


def test_the_gravest_alert_comes_first_and_only_lasting_ones_are_drawn(finished: FakeRun) -> None:
    reader = RunReader(finished.run, finished.record.run_id)
    kinds = [alert.kind for alert in alert_texts.of_run(reader, read_status(finished.run, "trainer"), NOW)]
    assert set(kinds) - {"low disk"} == {"not finite", "overfitting", "failed evaluation"}
    assert list(alert_texts.of_steps(reader)) == [200]
    table = Appender(finished.run.train_csv, TRAIN_COLUMNS)
    for step in range(201, 206):
        table.append({"step": step, "step_seconds": 0.1, "timestamp": datetime.now(UTC).isoformat()})
    with hold_role(finished.run, "trainer") as trainer:
        trainer.update("training", step=205)
        trainer.notice("a damaged checkpoint was passed over")
        found = alert_texts.of_run(reader, trainer.record, datetime.now(UTC))
    assert found[0].kind == "not finite"
    assert found[0].level == "bad"
    assert "notice" in [alert.kind for alert in found]
    assert list(alert_texts.of_steps(reader)) == [200, 205]


def test_an_alert_names_the_log_that_says_more(finished: FakeRun) -> None:
    write_failure(finished)
    finished.run.logs.mkdir(exist_ok=True)
    (finished.run.logs / "evaluator.log").unlink(missing_ok=True)
    (finished.run.logs / "trainer.log").write_text("error: CUDA out of memory\n")
    reader = RunReader(finished.run, finished.record.run_id)
    told = screen(reader, datetime.now(UTC), UTC).alerts
    assert {alert.log for alert in told} == {"trainer", ""}
    (failed,) = [alert for alert in told if alert.log]
    assert "ran out of memory" in failed.text
    assert any("could not be evaluated" in alert.text for alert in told), "its program has no log here"


def test_training_goes_on_after_stops_and_silences() -> None:
    times = NOW.timestamp() + np.arange(6.0)
    table = pd.DataFrame({"step": np.arange(1.0, 7), "loss": 0.1, "timestamp": times, "step_seconds": 1.0})
    table.loc[4:, "timestamp"] += 600
    assert events.pauses(table, {2: "asked"}) == {3: "resumed", 5: "resumed after 10 min 01 s"}
    assert events.pauses(table.head(1), {}) == {}
    assert 7 not in events.pauses(table, {6: "asked"})
