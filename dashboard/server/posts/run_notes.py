"""Tags and the note of a run, as the page of all runs sends them."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dashboard.data import notes
from dashboard.data.notes import NoteConflictError
from dashboard.data.reader import RunReader
from dashboard.server.posts.post import Told, post_route
from dashboard.server.screen import NO_STORE
from dashboard.text.language import say


def run_note_routes() -> list[Route]:
    """`{tags, note, seen_tags, seen_note}`: what is to stand there, and what its writer saw there."""

    def run_note(_request: Request, reader: RunReader, told: Told) -> Response:
        theirs = save(reader, told)
        return JSONResponse(theirs, 409 if theirs else 200, NO_STORE)

    return [post_route("/notes/{run}.json", run_note)]


def save(reader: RunReader, told: Told) -> dict[str, Any]:
    """Write tags and note; returns in a conflict what there is instead, else nothing.

    Raises:
        RunFolderError: notes.json cannot be read; it is not written over.
    """
    seen = tuple(map(str, told.get("seen_tags") or ())), str(told.get("seen_note") or "")
    try:
        notes.describe(reader.run, map(str, told.get("tags") or ()), str(told.get("note") or ""), seen)
    except NoteConflictError:
        found = notes.read_notes(reader.run)
        return {
            "error": say("The note was not saved: another tab has changed it. Both texts are shown here."),
            "tags": list(found.tags),
            "note": found.about[: notes.MAX_CHARACTERS],
        }
    return {}
