"""Requests to the trainer and its answers: files of their own, so that nobody waits for anybody.

A request is `control/<id>.json`, written by whoever asks; its answer is `control/<id>.answer.json`, written by the
trainer as it proceeds: seen → saved → stopped. Asking for what is already asked changes nothing. A request made before
this session of the trainer began is answered as ignored: it must not stop a run that was resumed since.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from typing import Literal

import psutil

from shared.errors import RunFolderError
from shared.records import Answer, Request, parse_time, utc_now
from shared.rundir import RunDir
from shared.status import is_alive, read_status

Stage = Literal["seen", "saved", "stopped"]


def submit_stop(run: RunDir, by: str) -> Request:
    """Ask the trainer to finish its step, save and stop; the request already open is returned if there is one."""
    waiting = open_requests(run)
    if waiting:
        return waiting[0]
    request = Request(id=f"stop-{uuid.uuid4().hex[:12]}", kind="stop", run_id=run.read_record().run_id, by=by)
    run.control.mkdir(exist_ok=True)
    request.write(run.control / f"{request.id}.json")
    return request


def requests(run: RunDir) -> list[Request]:
    """Every request of this run, oldest first; a damaged file is no request."""
    run_id = run.read_record().run_id
    found: list[Request] = []
    for path in run.control.glob("stop-*.json"):
        if path.name.endswith(".answer.json"):
            continue
        try:
            request = Request.read(path)
        except (RunFolderError, FileNotFoundError):
            continue
        if request.run_id == run_id and request.id == path.stem:
            found.append(request)
    return sorted(found, key=lambda request: request.created)


def open_requests(run: RunDir) -> list[Request]:
    """Requests that have neither been carried out nor ignored."""
    return [request for request in requests(run) if not _settled(read_answer(run, request))]


def read_answer(run: RunDir, request: Request) -> Answer:
    """How far the trainer has come with a request."""
    try:
        return Answer.read(run.control / f"{request.id}.answer.json")
    except (FileNotFoundError, RunFolderError):
        return Answer(request_id=request.id)


def answer(run: RunDir, request: Request, stage: Stage, step: int) -> None:
    """Trainer only: note that a stage is reached."""
    _write(run, read_answer(run, request).model_copy(update={stage: utc_now(), "step": step}))


def ignore_before(run: RunDir, session_started: str) -> None:
    """Trainer only: settle what was asked of an earlier session."""
    for request in open_requests(run):
        if parse_time(request.created) < parse_time(session_started):
            reason = "asked of an earlier session"
            _write(run, read_answer(run, request).model_copy(update={"ignored": reason}))


def session_started(run: RunDir) -> str:
    """When this session began: the living supervisor's start, else this process's."""
    supervisor = read_status(run, "supervisor")
    if supervisor and is_alive(supervisor):
        return supervisor.started
    return datetime.fromtimestamp(psutil.Process().create_time(), timezone.utc).isoformat()


def _settled(given: Answer) -> bool:
    return given.stopped is not None or given.ignored is not None


def _write(run: RunDir, given: Answer) -> None:
    given.write(run.control / f"{given.request_id}.answer.json")
