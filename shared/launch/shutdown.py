"""Ending a run: `run.py stop`, and a `run.py` that waits for or ends an earlier one in the same run folder."""

from __future__ import annotations

import time
from collections.abc import Callable

from shared.launch.left import named
from shared.run_folder import requests
from shared.run_folder.heartbeat import is_alive, read_status, snapshots_may_come
from shared.run_folder.pending import unevaluated
from shared.run_folder.records.process_status import FINAL_STATES, ProcessStatus, Role
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import seconds_since

POLL_SECONDS = 0.2
ORPHAN_SECONDS = 120.0
SILENT_SECONDS = 60.0
BY = "the command line"

Say = Callable[[str], object]


def wait_while_ending(run: RunDir, say: Say) -> None:
    """Before a run is trained again: wait for a `run.py` that was asked to stop or only evaluates what is left.

    A trainer whose `run.py` was killed saves and ends as well. Returns at once where neither is so, also where another
    `run.py` trains: taking its role then says who has it.
    """
    is_announced, deadline = False, time.monotonic() + ORPHAN_SECONDS
    while (ending := _who_ends(run)) and (ending.role == "supervisor" or time.monotonic() < deadline):
        if not is_announced:
            is_announced = True
            say(_waiting_for(run, ending))
        time.sleep(POLL_SECONDS)


def end_display(run: RunDir, say: Say) -> None:
    """Before a run is trained again: a `run.py` that has finished and only keeps its dashboard up gives way."""
    if _serves(read_status(run, "supervisor")):
        say("an earlier `run.py` only shows the dashboard of this run; it ends, and this one shows it")
        _await_end(run, say, now=True)


def stop(run: RunDir, say: Say, seconds: float, *, now: bool = False) -> int:
    """Ask a run to save and stop, and wait until its folder is free; returns the exit code.

    seconds: for the trainer to stop; what its `run.py` then does may take longer. now: what is not evaluated yet is
    left.
    """
    supervisor = read_status(run, "supervisor")
    if not snapshots_may_come(run) and not is_alive(supervisor):
        say(f"nothing to stop: no {_maker(run)} is at work in {run.path}")
        return 0
    if _trains(run) and not _stop_training(run, say, seconds):
        say(f"the {_maker(run)} has not stopped within {seconds:.0f} s; see {run.logs / f'{_maker(run)}.log'}")
        return 1
    return 0 if _await_end(run, say, now=now) else 1


def _await_end(run: RunDir, say: Say, *, now: bool) -> bool:
    """Whether the `run.py` of this run has ended; one that only keeps its dashboard up is told to, any if `now`."""
    is_announced = False
    while (supervisor := read_status(run, "supervisor")) and is_alive(supervisor):
        if _is_silent(supervisor):
            say(f"pid {supervisor.pid} on {supervisor.host} no longer says how it is: end it there")
            return False
        if now or _serves(supervisor):
            requests.submit_stop(run, BY)
        elif not is_announced and supervisor.state == "draining" and (waiting := named(unevaluated(run))):
            is_announced = True
            say(f"still to be evaluated: {waiting}; `python run.py stop {run.path} --now` leaves them for later")
        time.sleep(POLL_SECONDS)
    return True


def _stop_training(run: RunDir, say: Say, seconds: float) -> bool:
    """Whether the trainer has stopped within the time."""
    request = requests.submit_stop(run, BY)
    say(f"asked the {_maker(run)} to stop")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        given = requests.read_answer(run, request)
        if given.stopped or not _trains(run):
            maker = read_status(run, _maker(run))
            say(f"stopped after {run.read_record().unit} {maker.step if maker else 0}; the same command resumes")
            return True
        if given.ignored:  # a trainer that began later answers for its own session only
            request = requests.submit_stop(run, BY)
        time.sleep(POLL_SECONDS)
    return False


def _who_ends(run: RunDir) -> ProcessStatus | None:
    """The supervisor that is about to exit, or the trainer that it left behind."""
    supervisor, trainer = read_status(run, "supervisor"), read_status(run, "trainer")
    if supervisor is None or supervisor.state in FINAL_STATES:
        return None
    if is_alive(supervisor):
        is_training = supervisor.state in ("starting", "training")
        stopping = supervisor.state == "draining" or (is_training and _is_asked_to_stop(run))
        return supervisor if stopping and not _is_silent(supervisor) else None
    left_behind = trainer and is_alive(trainer) and trainer.process_started >= supervisor.process_started
    return trainer if left_behind else None


def _waiting_for(run: RunDir, ending: ProcessStatus) -> str:
    who = f"pid {ending.pid} on {ending.host}"
    if ending.role == "trainer":
        return f"{who}, the trainer of a `run.py` that has exited, saves and ends; waiting for it (Ctrl-C gives up)"
    if waiting := named(unevaluated(run)):
        leave = f"`python run.py stop {run.path} --now` leaves them to this one"
        return f"{who} is ending this run, still to be evaluated: {waiting}; waiting for it (Ctrl-C gives up; {leave})"
    return f"{who} is ending this run; waiting for it (Ctrl-C gives up)"


def _maker(run: RunDir) -> Role:
    """The program that its snapshots come from."""
    return "importer" if run.read_record().imported else "trainer"


def _trains(run: RunDir) -> bool:
    """Whether a trainer is at work, or its `run.py` is about to start it."""
    supervisor = read_status(run, "supervisor")
    starting = is_alive(supervisor) and supervisor is not None and supervisor.state in ("starting", "training")
    return starting or snapshots_may_come(run)


def _serves(supervisor: ProcessStatus | None) -> bool:
    return supervisor is not None and is_alive(supervisor) and supervisor.state == "serving"


def _is_asked_to_stop(run: RunDir) -> bool:
    return bool(requests.open_requests(run, "stop"))


def _is_silent(status: ProcessStatus) -> bool:
    """Its machine may no longer exist: of another one only the heartbeat is known."""
    return seconds_since(status.heartbeat) > SILENT_SECONDS
