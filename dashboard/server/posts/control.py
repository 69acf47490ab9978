"""Requests to the programs of a run, as the buttons of the page ask for them. The dashboard writes nothing else into
`control/`.

A request that is already open is not written again.
"""

from __future__ import annotations

import threading

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dashboard.data.reader import RunReader
from dashboard.server.jobs.exports import EXPORTS
from dashboard.server.posts.post import RefusedError, Told, post_route
from dashboard.server.screen import NO_STORE
from dashboard.text.language import say
from shared.run_folder import requests
from shared.run_folder.heartbeat import is_alive, read_status
from shared.run_folder.records.request import RequestKind

BY = "dashboard"
REQUESTS: dict[str, RequestKind] = {
    "stop": "stop",
    "pause": "pause",
    "resume": "resume",
    "snapshot-now": "snapshot-now",
}
"""What a button sends → the request."""
_ONE_AT_A_TIME = threading.Lock()  # a request that two viewers make at once is one


def control_routes() -> list[Route]:
    """`{"do": "stop", "run_id": …}`: the id of the run that the viewer sees."""

    def control(_request: Request, reader: RunReader, told: Told) -> Response:
        obey(reader, told)
        return JSONResponse({}, headers=NO_STORE)

    return [post_route("/control/{run}.json", control)]


def obey(reader: RunReader, told: Told) -> None:
    """Do what a button asked for.

    Raises:
        RefusedError: no button says this, nobody is there to answer it, or another run is in the folder by now.
    """
    if told.get("run_id") != reader.run_id or not reader.is_there():
        raise RefusedError(409, say("Another run has the name {run} now.", run=reader.name))
    match told:
        case {"do": "follow"}:
            ask(reader, "stop", f"{BY}, as the stop rule advised")
        case {"do": "convert", "step": int(step), "format": str(name)}:
            convert(reader, step, name)
        case {"do": "prepare", "step": int(step), "format": str(name)}:
            prepare(reader, step, name)
        case {"do": str(kind)} if kind in REQUESTS:
            ask(reader, REQUESTS[kind])
        case _:
            raise RefusedError(422, say("What was sent cannot be read."))


def ask(reader: RunReader, kind: RequestKind, by: str = BY) -> None:
    """Write the request, unless it is open already.

    Raises:
        RefusedError: no trainer is running to answer it.
    """
    if not is_alive(read_status(reader.run, "trainer")):
        raise RefusedError(409, say("No trainer is running to answer this."))
    with _ONE_AT_A_TIME:
        requests.submit(reader.run, kind, by)


def convert(reader: RunReader, step: int, name: str) -> None:
    """Make the file of a format of this run."""
    for form in reader.exports:
        if form.name == name and not form.file:
            EXPORTS.start(reader.run, step, form)


def prepare(reader: RunReader, step: int, name: str) -> None:
    """The same before anybody asked for it: of the confirmed best only, and never beside training, which needs the
    memory."""
    best = reader.best()
    is_proven = best is not None and best.step == step and best.better_than_base
    if is_proven and not is_alive(read_status(reader.run, "trainer")):
        convert(reader, step, name)
