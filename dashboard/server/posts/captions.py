"""Captions as the Data page changes them: one edited, a tag replaced in all, a change undone.

A change is refused while a run trains on the pictures, and where somebody else has changed a caption meanwhile.
"""

from __future__ import annotations

import threading
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dashboard.data.data_set import DATA_SETS, DataSet, in_use, why_fixed
from dashboard.data.reader import RunReader
from dashboard.server.jobs.captioners import CAPTIONERS
from dashboard.server.posts.post import RefusedError, Told, post_route
from dashboard.server.screen import NO_STORE
from dashboard.story.data_changes import counted, replacements
from dashboard.text.language import say
from shared.data.captions import tidy
from shared.data.editing import captioner_status
from shared.data.editing.captioned import Captioned
from shared.data.editing.change import Change, Kind
from shared.data.editing.history import ConflictError
from shared.errors import DataError

_ONE_AT_A_TIME = threading.Lock()


def caption_routes() -> list[Route]:
    """`{"do": "edit", "run_id": …, "id": …, "caption": …, "seen": …}`, and so on."""

    def changed(_request: Request, reader: RunReader, told: Told) -> Response:
        with _ONE_AT_A_TIME:
            try:
                made = change(reader, told)
            finally:
                DATA_SETS.forget()
        return JSONResponse(made, 409 if "error" in made else 200, NO_STORE)

    return [post_route("/captions/{run}.json", changed)]


def change(reader: RunReader, told: Told) -> dict[str, Any]:
    """Do what was asked for; returns the id of the change, which undoes it.

    Raises:
        RefusedError: it cannot be done, with the reason.
        OSError: the disk is full, or may not be written.
    """
    if told.get("run_id") != reader.run_id or not reader.is_there():
        raise RefusedError(409, say("Another run has the name {run} now.", run=reader.name))
    DATA_SETS.forget()
    data = DATA_SETS.of(reader)
    if data.fixed or data.captioned is None:
        raise RefusedError(409, why_fixed(data))
    if reason := in_use(data):
        raise RefusedError(409, reason)
    try:
        return obey(reader, data, data.captioned, told)
    except ConflictError as error:
        text = say(
            "Nothing was changed: {count} captions are no longer what this change expects, such as {picture}.",
            count=len(error.ids),
            picture=error.ids[0],
        )
        raise RefusedError(409, text) from None
    except DataError as error:
        raise RefusedError(422, f"{error}; {error.hint}" if error.hint else str(error)) from None


def obey(reader: RunReader, data: DataSet, there: Captioned, told: Told) -> dict[str, Any]:
    """What a button asks for; raises as `change` does, and `ConflictError`, `DataError`."""
    match told:
        case {"do": "edit", "id": str(pair_id), "caption": str(caption), "seen": str(seen)}:
            return edit(data, there, pair_id, caption, seen)
        case {"do": "replace", "find": str(find), "replace": str(new), "how": str(how), "count": int(count)}:
            return replace(data, there, (find, new, how), count)
        case {"do": "undo", "change": str(change_id)}:
            return done(there.history.undo(change_id))
        case {"do": "caption", "model": str(model), "every": bool(every)} if model.strip():
            return begin(reader, there, model.strip(), every=every)
        case {"do": "stop-captioner"}:
            captioner_status.ask_to_stop(there.folder)
            return {}
        case _:
            raise RefusedError(422, say("What was sent cannot be read."))


def edit(data: DataSet, there: Captioned, pair_id: str, caption: str, seen: str) -> dict[str, Any]:
    """Another caption of one picture. seen: the one that the viewer saw."""
    row = data.rows.get(pair_id)
    if row is None or pair_id not in there.by_id:
        raise RefusedError(404, say("This picture is no longer in the data set."))
    if row.caption not in (seen, tidy(caption)):
        text = say("The caption was not saved: it has changed meanwhile. Both texts are shown here.")
        return {"error": text, "caption": row.caption}
    return make(there, "edit", "", {pair_id: caption})


def replace(data: DataSet, there: Captioned, what: tuple[str, str, str], count: int) -> dict[str, Any]:
    """A tag in all captions. count: how many the viewer saw that change."""
    find, new, how = what
    wanted = replacements(data, find, new, how)
    emptied = sum(not caption for caption in wanted.values())
    if emptied or not wanted:
        raise RefusedError(422, counted(len(wanted), emptied))
    if len(wanted) != count:
        return {"error": say("The captions have changed meanwhile. {count} would change now.", count=len(wanted))}
    return make(there, "replace", f"{tidy(find)} → {tidy(new) or '–'}", wanted)


def begin(reader: RunReader, there: Captioned, model: str, *, every: bool) -> dict[str, Any]:
    """Start the program that writes captions."""
    if model.startswith("-"):
        raise RefusedError(422, say("What was sent cannot be read."))
    if not CAPTIONERS.start(reader.config.data.path, there.folder, model, every=every):
        raise RefusedError(409, say("A program is writing captions already."))
    return {}


def make(there: Captioned, kind: Kind, words: str, wanted: dict[str, str]) -> dict[str, Any]:
    """Write captions; nothing to write is no change."""
    entries = there.entries(wanted)
    return done(there.history.make(kind, words, entries)) if entries else {"change": "", "count": 0}


def done(made: Change) -> dict[str, Any]:
    """What the page is told."""
    return {"change": made.id, "count": len({entry.id for entry in made.entries})}
