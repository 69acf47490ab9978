"""Claims: one evaluator per step; the dead and the silent lose theirs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from shared.run_folder.run_dir import RunDir
from shared.run_folder.sharing.leases import Claim, claimed, claimed_steps, dead_claims, drop_dead_claims
from tests.conftest import until


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def leave_claim(run: RunDir, *, host: str | None = None, pid: int = 0, age_seconds: float = 0.0) -> Path:
    """A claim on step 4 as somebody else would have left it."""
    run.claims.mkdir(exist_ok=True)
    path = run.claims / "step-00000004.json"
    started = psutil.Process(pid).create_time() if pid and psutil.pid_exists(pid) else 1.0
    Claim(step=4, host=host or socket.gethostname(), pid=pid, process_started=started).write(path)
    os.utime(path, (time.time() - age_seconds,) * 2)
    return path


def test_a_claim_is_held_while_the_block_runs_and_gone_afterwards(run: RunDir) -> None:
    with claimed(run, 4) as mine:
        assert mine
        assert claimed_steps(run) == {4}
    assert claimed_steps(run) == set()
    with claimed(run, 4) as again:
        assert again


def test_a_step_is_never_claimed_twice(run: RunDir) -> None:
    with claimed(run, 4) as first, claimed(run, 4) as second, claimed(run, 5) as other:
        assert (first, second, other) == (True, False, True)
    assert not list(run.claims.glob("step-*"))


def test_losing_the_contest_does_not_take_the_winners_claim_away(run: RunDir) -> None:
    with claimed(run, 4):
        with claimed(run, 4) as mine:
            assert not mine
        assert claimed_steps(run) == {4}


def test_an_error_in_the_block_drops_the_claim(run: RunDir) -> None:
    with pytest.raises(ValueError, match="boom"), claimed(run, 4):
        raise ValueError("boom")
    assert claimed_steps(run) == set()


def test_only_one_of_many_threads_gets_the_claim(run: RunDir) -> None:
    gate, won = threading.Barrier(8), list[bool]()

    def contend() -> None:
        gate.wait()
        with claimed(run, 4) as mine:
            won.append(mine)
            gate.wait()

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]


def test_a_dead_owners_claim_is_stolen_at_once(run: RunDir) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    leave_claim(run, pid=process.pid)
    assert claimed_steps(run) == set()
    with claimed(run, 4) as mine:
        assert mine


def test_a_reused_pid_does_not_keep_a_dead_owners_claim(run: RunDir) -> None:
    path = leave_claim(run, pid=os.getpid())
    assert claimed_steps(run) == {4}
    Claim.read(path).model_copy(update={"process_started": 1.0}).write(path)
    assert claimed_steps(run) == set()


def test_another_hosts_claim_holds_until_its_lease_is_over(run: RunDir) -> None:
    leave_claim(run, host="elsewhere", age_seconds=50)
    with claimed(run, 4, lease_seconds=60) as mine:
        assert not mine
    leave_claim(run, host="elsewhere", age_seconds=61)
    assert claimed_steps(run, lease_seconds=60) == set()
    with claimed(run, 4, lease_seconds=60) as mine:
        assert mine


def test_a_lease_is_renewed_while_the_work_goes_on(run: RunDir) -> None:
    with claimed(run, 4, lease_seconds=0.4):
        path = run.claims / "step-00000004.json"
        first = path.stat().st_mtime_ns
        until(lambda: path.stat().st_mtime_ns > first, "a renewal", seconds=10)


def test_a_late_owner_does_not_drop_the_thiefs_claim(run: RunDir) -> None:
    with claimed(run, 4):
        thief = leave_claim(run, host="elsewhere")
    assert thief.exists()


def test_a_late_owner_does_not_renew_the_thiefs_claim(run: RunDir) -> None:
    before = set(threading.enumerate())
    with claimed(run, 4, lease_seconds=0.2):
        (renewer,) = (thread for thread in threading.enumerate() if thread not in before)
        thief = leave_claim(run, host="elsewhere")
        begun = thief.stat().st_mtime_ns
        until(lambda: not renewer.is_alive(), "the owner to notice")
        assert thief.stat().st_mtime_ns == begun


def test_what_the_dead_left_is_dropped_and_nothing_else(run: RunDir) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    left = leave_claim(run, pid=process.pid)
    with claimed(run, 5), claimed(run, 4, "confirmations"):
        assert dead_claims(run) == [left]
        drop_dead_claims(run)
        assert dead_claims(run) == []
        assert (claimed_steps(run), claimed_steps(run, "confirmations")) == ({5}, {4})


@pytest.mark.parametrize("content", [b"", b"{", b"[]"])
def test_a_damaged_claim_is_no_claim(run: RunDir, content: bytes) -> None:
    leave_claim(run, host="elsewhere").write_bytes(content)
    with claimed(run, 4) as mine:
        assert mine
