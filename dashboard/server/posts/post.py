"""What a page sends to be done: a POST with a JSON object, which `auth.Gate` accepts from this page's own site only.

It does not go through Streamlit, whose triggers are lost where one run of the script interrupts another: a button that
stops a training must not need a second press.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dashboard.data.reader import RunReader
from dashboard.server.screen import NO_STORE, in_words, language_of, reader_of
from dashboard.text import language
from dashboard.text.language import say
from shared.errors import RunFolderError

MAX_BYTES = 64_000
"""A caption has 10,000 characters at most, of up to four bytes."""

Told = Mapping[str, Any]


class RefusedError(Exception):
    """Something that is not done, with the status and the sentence of the answer."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def post_route(path: str, do: Callable[[Request, RunReader, Told], Response]) -> Route:
    """path: with `{run}`. `do` gets the run and what was sent; a `RefusedError`, a `RunFolderError` or an `OSError` of
    it becomes an answer in words."""

    async def posted(request: Request) -> Response:
        body = await _body(request)
        return await run_in_threadpool(_done, request, body, do)

    return Route(path, posted, methods=["POST"])


async def _body(request: Request) -> bytes:
    """What was sent, up to a little more than is read: the rest is not waited for."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            break
    return bytes(body[: MAX_BYTES + 1])


def _done(request: Request, body: bytes, do: Callable[[Request, RunReader, Told], Response]) -> Response:
    language.use(language_of(request))
    try:
        return do(request, reader_of(request.path_params["run"]), _object(request, body))
    except RefusedError as error:
        return _sentence(error.status, str(error))
    except RunFolderError as error:
        return JSONResponse(in_words(error), 404, NO_STORE)
    except OSError as error:
        return _sentence(500, say("Nothing was saved: {reason}.", reason=error.strerror or type(error).__name__))


def _object(request: Request, body: bytes) -> Told:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise RefusedError(415, say("Send this as application/json."))
    told: Any = None
    if len(body) <= MAX_BYTES:
        with suppress(ValueError, RecursionError):
            told = json.loads(body)
    if not isinstance(told, dict):
        raise RefusedError(400, say("What was sent cannot be read."))
    return told


def _sentence(status: int, text: str) -> Response:
    return JSONResponse({"error": text, "hint": ""}, status, NO_STORE)
