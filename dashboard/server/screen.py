"""First screen, snapshots, runs, machine, logs as JSON, which the page asks for again and again: unchanged, it is not
sent."""

from __future__ import annotations

import hashlib
import json
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from dashboard import report
from dashboard.data.reader import RunReader
from dashboard.data.runs import open_reader, run_lines
from dashboard.data.versions import PARTS, is_live, version, versions
from dashboard.server.jobs.exports import EXPORTS
from dashboard.server.jobs.rechecks import RECHECKS
from dashboard.story.cards import cards
from dashboard.story.log import LEVELS, LINE_COUNTS, STARTS, log
from dashboard.story.machine import machine
from dashboard.story.progress.requests import advice, shown_requests
from dashboard.story.screen import screen
from dashboard.story.snapshots import table
from dashboard.text import language
from dashboard.text.formatting import zone_of
from dashboard.text.language import asked_for, say
from shared.errors import DarkroomError, RunFolderError

NO_STORE = {"Cache-Control": "no-store"}

Kind = TypeVar("Kind", bound=str)


def screen_routes() -> list[Route]:
    """The functions are not async, so that Starlette runs each request in a thread of its own."""

    def first_screen(request: Request) -> Response:
        return answer(request, lambda: document(request))

    def snapshots(request: Request) -> Response:
        return answer(request, lambda: asdict(table(reader_of(request.path_params["run"]))))

    def runs(request: Request) -> Response:
        return answer(request, lambda: [asdict(line) for line in run_lines()])

    def versions_now(request: Request) -> Response:
        return answer(request, lambda: versions_of(request))

    def all_cards(request: Request) -> Response:
        zone = zone_of(request.query_params.get("zone"))
        return answer(request, lambda: [asdict(card) for card in cards(datetime.now(UTC), zone)])

    def machine_now(request: Request) -> Response:
        zone, name = zone_of(request.query_params.get("zone")), request.path_params["run"]
        return answer(request, lambda: asdict(machine(reader_of(name), datetime.now(UTC), zone)))

    def log_now(request: Request) -> Response:
        run, role, query = request.path_params["run"], request.path_params["role"], request.query_params
        count, wanted = step_of(query.get("count")) or min(LINE_COUNTS), query.get("wanted", "")
        level, start = one_of(LEVELS, query.get("level")), one_of(STARTS, query.get("start"))
        return answer(
            request,
            lambda: asdict(log(reader_of(run), role, max(1, min(count, max(LINE_COUNTS))), wanted, level, start)),
        )

    def report_file(request: Request) -> Response:
        language.use(language_of(request))
        name = request.path_params["run"]
        try:
            text = report.render(reader_of(name))
        except DarkroomError as error:
            return JSONResponse(in_words(error), 404)
        return HTMLResponse(text, headers=NO_STORE | {"Content-Disposition": as_download(f"{name}.html")})

    return [
        Route("/screen/{run}.json", first_screen),
        Route("/snapshots/{run}.json", snapshots),
        Route("/runs.json", runs),
        Route("/versions/{run}.json", versions_now),
        Route("/cards.json", all_cards),
        Route("/machine/{run}.json", machine_now),
        Route("/log/{run}/{role}.json", log_now),
        Route("/report/{run}.html", report_file),
    ]


def as_download(name: str) -> str:
    """The header that saves an answer under a name, which may have any letters (RFC 6266)."""
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"


def versions_of(request: Request) -> dict[str, Any]:
    """The versions of the `parts` that a page shows of a run beside its own, and whether they change soon."""
    reader = reader_of(request.path_params["run"])
    asked = request.query_params.get("parts", "").split(",")
    known = {part: version(reader.run, [part]) for part in PARTS if part in asked}
    return {"run": reader.name, "live": is_live(reader.run), "versions": known}


def document(request: Request) -> dict[str, Any]:
    """What `screen.js` draws: the first screen and the requests that are open; and the versions, which tell panels and
    charts whether what they show is still what there is."""
    reader, now = reader_of(request.path_params["run"]), datetime.now(UTC)
    left, right = (step_of(request.query_params.get(side)) for side in ("left", "right"))
    zone = zone_of(request.query_params.get("zone"))
    shown = screen(reader, now, zone, left=left, right=right, exports=EXPORTS, rechecks=RECHECKS)
    return {
        **asdict(shown),
        "versions": versions(reader.run),
        "requests": [asdict(request) for request in shown_requests(reader, now, zone)],
        "advice": advice(reader),
    }


def reader_of(name: str) -> RunReader:
    """The reader of a run; texts count from here on as it does.

    Raises:
        RunFolderError: there is no such run, or it cannot be read.
    """
    reader = open_reader(name)
    language.count_in(reader.unit)
    return reader


def answer(request: Request, make: Callable[[], Any]) -> Response:
    """What `make` returns as JSON, in the language of the request; 304 without a body if the browser has it already."""
    language.use(language_of(request))
    try:
        body = json.dumps(make(), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except RunFolderError as error:
        return JSONResponse(in_words(error), 404, NO_STORE)
    except DarkroomError as error:
        return JSONResponse(in_words(error), 500, NO_STORE)
    except Exception as error:  # noqa: BLE001 - the edge: a defect of ours must not leave the page without a word
        traceback.print_exc(file=sys.stderr)
        text = say("The page could not be prepared: {error}. The log of the dashboard says more.", error=repr(error))
        return JSONResponse({"error": text, "hint": ""}, 500, NO_STORE)
    headers = NO_STORE | {"ETag": f'"{hashlib.sha256(body).hexdigest()[:24]}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def in_words(error: DarkroomError) -> dict[str, str]:
    """An error as the page shows it."""
    return {"error": str(error), "hint": error.hint}


def language_of(request: Request) -> str:
    """`?lang=`, else the browser's."""
    return asked_for(request.query_params.get("lang"), request.headers.get("accept-language", ""))


def one_of(options: Mapping[Kind, str], text: str | None) -> Kind:
    """The option that the address names, else the first."""
    return next((option for option in options if option == text), next(iter(options)))


def step_of(text: str | None) -> int | None:
    """A step of the address; None if it is none."""
    with suppress(TypeError, ValueError):
        return int(text)  # type: ignore[arg-type]
    return None
