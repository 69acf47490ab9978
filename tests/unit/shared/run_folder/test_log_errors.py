from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dashboard.data import alert_texts
from examples.fake_run.run import create
from shared.followers import alerts
from shared.run_folder.heartbeat import hold_role, read_status
from shared.run_folder.log_errors import LoggedError, error_at_end, logged_error
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import utc_now

BEGUN = "2026-01-01 10:00:00,000 INFO trainer: begins\n"
RAISED = "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    main()\nKeyError: 'step'\n"


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (BEGUN, None),
        (BEGUN + "error: no room\n       at all\nhint: make room\n", LoggedError("no room at all", "make room")),
        (BEGUN + "error: no room\n", LoggedError("no room")),
        ("error: no room\nhint: make room\n" + BEGUN, None),
        (BEGUN + RAISED, LoggedError("KeyError: 'step'")),
        (RAISED + BEGUN, None),
        (RAISED + "error: no room\n", LoggedError("no room")),
        ("error: no room\n" + BEGUN + RAISED, LoggedError("KeyError: 'step'")),
        (
            RAISED
            + "\nDuring handling of the above exception, another exception occurred:\n\n"
            + RAISED.replace("KeyError", "torch.OutOfMemoryError"),
            LoggedError("torch.OutOfMemoryError: 'step'"),
        ),
        ("", None),
    ],
)
def test_a_log_that_ends_with_an_error_says_what_and_its_cure(log: str, found: LoggedError | None) -> None:
    assert error_at_end(log) == found


@pytest.fixture
def failed(tmp_path: Path) -> RunDir:
    run = create(tmp_path / "run", steps=10, snapshot_steps=5).run
    run.logs.mkdir(exist_ok=True)
    with contextlib.suppress(KeyError), hold_role(run, "trainer"):
        (run.logs / "trainer.log").write_text(BEGUN + "error: no room\nhint: delete something\n")
        raise KeyError("step")
    return run


def test_the_alert_of_a_failed_program_says_the_error_of_its_log_and_the_cure(failed: RunDir) -> None:
    (alert,) = [alert for alert in alerts.in_run(failed, datetime.now(UTC)) if alert.kind == "failed"]
    assert str(alert) == "Trainer failed: no room. To cure it, delete something."
    assert alert_texts.sentence(alert) == str(alert)
    (failed.logs / "trainer.log").write_text(BEGUN + RAISED)
    (alert,) = [alert for alert in alerts.in_run(failed, datetime.now(UTC)) if alert.kind == "failed"]
    assert str(alert) == "Trainer failed: KeyError: 'step'"


def test_the_error_of_an_earlier_session_is_not_told_again(failed: RunDir) -> None:
    log = failed.logs / "trainer.log"
    os.utime(log, (0, 0))
    status = read_status(failed, "trainer")
    assert status
    assert logged_error(failed, "trainer", status.started) is None
    assert str(alerts.ended_badly(status, False, failed)[0]) == "Trainer failed: 'step'"


def test_a_log_that_is_a_link_out_of_the_run_or_a_pipe_is_not_read(failed: RunDir, tmp_path: Path) -> None:
    log = failed.logs / "trainer.log"
    log.rename(tmp_path / "elsewhere.log")
    log.symlink_to(tmp_path / "elsewhere.log")
    long_ago = "2020-01-01T00:00:00+00:00"
    assert logged_error(failed, "trainer", long_ago) is None
    log.unlink()
    os.mkfifo(log)
    assert logged_error(failed, "trainer", long_ago) is None
    assert logged_error(failed, "evaluator", utc_now()) is None
