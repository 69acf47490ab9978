"""Requests to the trainer and the evaluators, and their answers, each in a separate file, so that no program waits.

A request is `control/<id>.json`, written by the program that asks; its answer is `control/<id>.answer.json`, written
by the trainer as it proceeds. A second request of the same kind changes nothing. A request from before this session of
the trainer is answered as ignored: it must not stop or hold a run that was resumed since.

    stop           seen → saved → stopped
    snapshot-now   seen → done: the snapshot of `step` is published
    pause          seen → done: training holds after `step`, its memory kept, until resume, stop or a new session
    resume         seen → done: training continues; also where nothing was held

Evaluators answer one kind of request; the first one that reads it answers:

    evaluate       seen → done: the snapshot of `step` is evaluated before all others, even if it was skipped. With
                   prompts in the request, it is drawn with them into `requested/<id>/step-N`, even if it has
                   results already
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import psutil

from shared.errors import ConfigError, RunFolderError
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.records.request import Answer, Request, RequestKind
from shared.run_folder.run_dir import RunDir
from shared.run_folder.times import parse_time, utc_now

Stage = Literal["seen", "saved", "stopped", "done"]
REQUEST_KINDS: tuple[RequestKind, ...] = ("stop", "snapshot-now", "pause", "resume")
"""Requests to the trainer."""
MAX_PROMPTS = 64


def submit(run: RunDir, kind: RequestKind, by: str) -> Request:
    """Write a request to the trainer; an open request of the same kind is returned instead."""
    waiting = open_requests(run, kind)
    if waiting:
        return waiting[0]
    return _ask(run, kind, by)


def submit_stop(run: RunDir, by: str) -> Request:
    """Ask the trainer to finish its step, save and stop."""
    return submit(run, "stop", by)


def submit_evaluation(run: RunDir, step: int, by: str, prompts: Sequence[str] = ()) -> Request:
    """Ask the evaluators to evaluate a snapshot next, or to draw it with the given prompts.

    Raises:
        ConfigError: a prompt is empty, or there are too many.
    """
    wanted = tuple(" ".join(prompt.split()) for prompt in prompts)
    if len(wanted) > MAX_PROMPTS or not all(wanted):
        raise ConfigError(f"1 to {MAX_PROMPTS} prompts can be asked for at once, none of them empty")
    waiting = [
        request for request in open_requests(run, "evaluate") if (request.step, request.prompts) == (step, wanted)
    ]
    if waiting:
        return waiting[0]
    return _ask(run, "evaluate", by, step, wanted)


def requests(run: RunDir, kind: RequestKind = "stop") -> list[Request]:
    """Every request of one kind of this run, oldest first; a damaged file is no request."""
    run_id = run.read_record().run_id
    pending: list[Request] = []
    for path in run.control.glob(f"{kind}-*.json"):
        if path.name.endswith(".answer.json"):
            continue
        try:
            request = Request.read(path)
        except (RunFolderError, FileNotFoundError):
            continue
        if (request.run_id, request.id, request.kind) == (run_id, path.stem, kind):
            pending.append(request)
    return sorted(pending, key=lambda request: request.created)


def open_requests(run: RunDir, kind: RequestKind = "stop") -> list[Request]:
    """Requests of one kind that have neither been carried out nor ignored."""
    return [request for request in requests(run, kind) if not _settled(read_answer(run, request))]


def read_answer(run: RunDir, request: Request) -> Answer:
    """How far a request has come."""
    try:
        return Answer.read(run.control / f"{request.id}.answer.json")
    except (FileNotFoundError, RunFolderError):
        return Answer(request_id=request.id)


def answer(run: RunDir, request: Request, stage: Stage, step: int) -> None:
    """Called by the program that carries the request out: record that a stage is reached."""
    _write(run, read_answer(run, request).model_copy(update={stage: utc_now(), "step": step}))


def ignore(run: RunDir, request: Request, reason: str) -> None:
    """Called by the receiver: settle a request that will not be carried out."""
    _write(run, read_answer(run, request).model_copy(update={"ignored": reason}))


def ignore_before(run: RunDir, session_started: str) -> None:
    """Called by the trainer: settle requests to an earlier session."""
    for kind in REQUEST_KINDS:
        for request in open_requests(run, kind):
            if parse_time(request.created) < parse_time(session_started):
                ignore(run, request, "asked of an earlier session")


def session_started(run: RunDir) -> str:
    """When this session began: the living supervisor's start, else this process's."""
    supervisor = read_status(run, "supervisor")
    if supervisor and is_alive(supervisor):
        return supervisor.started
    return datetime.fromtimestamp(_process_started(), UTC).isoformat()


def _process_started() -> float:
    """Epoch seconds. Linux tells psutil when it was booted in whole seconds: up to one too early, so a request of the
    session before could pass for one of this; the age of the process is exact."""
    try:
        ticks = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError):
        return psutil.Process().create_time()
    return time.time() - age


def _ask(run: RunDir, kind: RequestKind, by: str, step: int | None = None, prompts: tuple[str, ...] = ()) -> Request:
    name, run_id = f"{kind}-{uuid.uuid4().hex[:12]}", run.read_record().run_id
    request = Request(id=name, kind=kind, run_id=run_id, by=by, step=step, prompts=prompts)
    run.control.mkdir(exist_ok=True)
    request.write(run.control / f"{request.id}.json")
    return request


def _settled(given: Answer) -> bool:
    return (given.stopped or given.done or given.ignored) is not None


def _write(run: RunDir, given: Answer) -> None:
    given.write(run.control / f"{given.request_id}.answer.json")
