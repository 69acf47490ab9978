"""The pictures of one step with their numbers as JSON, for the wall. The URL holds a version, so that a browser may
keep what it got."""

from __future__ import annotations

import json
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dashboard.server.files import FOREVER
from dashboard.server.screen import NO_STORE, in_words, language_of, reader_of
from dashboard.story.drawn import drawn_step
from dashboard.text import language
from shared.errors import DarkroomError


def drawn_routes() -> list[Route]:
    """The function is not async, so that Starlette runs each request in a thread of its own."""

    def drawn(request: Request) -> Response:
        language.use(language_of(request))
        try:
            shown = drawn_step(reader_of(request.path_params["run"]), request.path_params["step"])
        except DarkroomError as error:
            return JSONResponse(in_words(error), 404, NO_STORE)
        body = json.dumps(asdict(shown), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        headers = FOREVER if shown.samples else NO_STORE
        return Response(body, media_type="application/json", headers=headers)

    return [Route("/drawn/{run}/{step:int}.json", drawn)]
