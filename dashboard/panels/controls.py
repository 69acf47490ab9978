"""Requests to the programs of a run, as the buttons of the page ask for them. The dashboard writes nothing else into
`control/`.

A request that is already open is not written again.
"""

from __future__ import annotations

from collections.abc import Mapping

from dashboard.data.reader import RunReader
from dashboard.panels import act
from dashboard.server.exports import EXPORTS
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


def obey(reader: RunReader, asked: Mapping[str, object]) -> None:
    """Do what a button asked for, unless another run is in the folder by now."""
    match asked:
        case {"do": "follow"}:
            ask(reader, "stop", f"{BY}, as the stop rule advised")
        case {"do": "convert", "step": int(step), "format": str(name)}:
            act(reader, convert, reader, step, name)
        case {"do": "prepare", "step": int(step), "format": str(name)}:
            act(reader, prepare, reader, step, name)
        case {"do": str(kind)} if kind in REQUESTS:
            ask(reader, REQUESTS[kind])
        case _:
            pass


def ask(reader: RunReader, kind: RequestKind, by: str = BY) -> None:
    """Write the request, unless it is open already or no trainer is running to answer it."""
    if is_alive(read_status(reader.run, "trainer")):
        act(reader, requests.submit, reader.run, kind, by)


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
