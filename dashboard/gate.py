"""Who may come in: the middleware before every page, picture and WebSocket.

On a loopback address without a token, only loopback names are answered, so that a foreign page cannot reach the
dashboard through a name of its own (DNS rebinding). Any other address needs the token: `?token=` once, which leaves a
cookie that scripts cannot read and other sites cannot send.
"""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.access import Admission

COOKIE = "darkroom_token"
HEALTH = "/_stcore/health"  # says "ok" and nothing else; a supervisor asks for it before anybody has a token
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
YEAR_SECONDS = 31_536_000


class Gate:
    """Refuses what may not come in: 401 or 403 over HTTP, 403 for a WebSocket."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self.app, self.token = app, admission.token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in, or answer."""
        if scope["type"] not in ("http", "websocket") or scope["path"] == HEALTH:
            await self.app(scope, receive, send)
            return
        answer = self._answer(scope)
        if answer is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})  # before the handshake: the client sees 403

    def _answer(self, scope: Scope) -> Response | None:
        """What to reply instead of letting the request in; None lets it in."""
        headers = Headers(scope=scope)
        if not is_same_origin(headers.get("origin"), headers.get("host")) and scope["type"] == "websocket":
            return PlainTextResponse("another site may not connect", 403)
        if not self.token:
            return None if is_loopback(headers.get("host")) else PlainTextResponse("unknown host", 403)
        if self._knows(cookie_of(headers.get("cookie", ""))):
            return None
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if scope["type"] == "http" and self._knows(query.pop("token", "")):
            return with_cookie(RedirectResponse(f"{scope['path']}?{urlencode(query)}", 303), self.token)
        return PlainTextResponse("the address needs its token: use the link that was printed at the start", 401)

    def _knows(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())


def is_loopback(host: str | None) -> bool:
    """Whether a Host header names this very machine."""
    return host is not None and (urlsplit(f"//{host}").hostname or "").rstrip(".") in LOOPBACK_NAMES


def is_same_origin(origin: str | None, host: str | None) -> bool:
    """Browsers always say where a WebSocket comes from; a program that says nothing is let on to the next check."""
    return origin is None or urlsplit(origin).netloc == host


def cookie_of(header: str) -> str:
    """The token in a Cookie header; empty when there is none."""
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def with_cookie(response: Response, token: str) -> Response:
    """The response, leaving the token with the browser."""
    response.set_cookie(COOKIE, token, max_age=YEAR_SECONDS, httponly=True, samesite="lax")
    return response
