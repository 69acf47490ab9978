"""Access control: the middleware before every page, picture and WebSocket.

On a loopback address without a token, only loopback names are answered, so that a foreign page cannot reach the
dashboard under its own host name (DNS rebinding). Any other address needs the token: `?token=` once, which leaves a
cookie that scripts cannot read and other sites cannot send. A WebSocket, and a request that changes something, is
accepted from the page's own site or from a trusted host. Headers such as X-Forwarded-Host are ignored, because anyone
can send them.

Every answer says who may use it: no foreign page may show it in a frame (a click there would reach the buttons), embed
its pictures or learn its address.

Behind a proxy the browser may see the dashboard below a path. Redirects are therefore relative, and the base path,
which some proxies leave in place, is removed here.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.text import language
from dashboard.text.language import say
from shared.config.access import Admission

HEALTH = "/_stcore/health"  # answers only "ok"; the supervisor asks for it without a token
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
QUESTION = "/admission"  # the page asks here whether its WebSocket will be accepted, and shows the reason if not
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s\[\]/?#@\\:]*)(:\d*)?", re.IGNORECASE)
YEAR_SECONDS = 31_536_000
PAGE = """<!DOCTYPE html><html lang="{lang}"><head><meta charset="utf-8"><title>Darkroom</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 42em; margin: 3em auto; padding: 0 1em }}
code {{ overflow-wrap: anywhere }}</style></head>
<body id="refused"><main><h1>Darkroom</h1>{paragraphs}</main></body></html>"""


class Gate:
    """Refuses requests without access, with a reason: 400, 401 or 403 over HTTP, 403 for a WebSocket."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self.app, self.token = app, admission.token
        self.trusted_hosts, self.base_path = frozenset(admission.trusted_hosts), admission.base_path
        self.cookie = cookie_name(admission.token)
        self.headers = protection(admission.frame_ancestors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        send = self._protected(send)
        answer = self._moved(scope)
        scope = without_prefix(scope, self.base_path)
        if answer is None and scope["path"] != HEALTH:
            answer = self._answer(scope)
        if answer is None and scope["type"] == "websocket":
            await self._serve_until_closed(without_origin(scope), receive, send)
        elif answer is None:
            await self.app(without_origin(scope), receive, send)
        elif scope["type"] == "http":
            await answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})  # before the handshake: the client sees 403

    async def _serve_until_closed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Streamlit 1.67 closes a WebSocket that the browser has closed already, which Starlette 1 calls an error."""
        is_closed = False

        async def receive_noting() -> Message:
            nonlocal is_closed
            message = await receive()
            is_closed = is_closed or message["type"] == "websocket.disconnect"
            return message

        try:
            await self.app(scope, receive_noting, send)
        except RuntimeError:
            if not is_closed:
                raise

    def _protected(self, send: Send) -> Send:
        """Every answer carries the headers, whoever wrote it."""

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        return send_protected

    def _moved(self, scope: Scope) -> Response | None:
        """The base path needs a final slash, because links are relative to it. Other pages must not have one."""
        path = scope["path"]
        if scope["type"] != "http" or path == "/" or path.strip("/") == "":
            return None
        if path == self.base_path:
            return redirect(f"./{path.rpartition('/')[2]}/", scope["query_string"].decode("latin-1"))
        if path.endswith("/") and path != f"{self.base_path}/":
            return redirect(f"../{path.rstrip('/').rpartition('/')[2]}", scope["query_string"].decode("latin-1"))
        return None

    def _answer(self, scope: Scope) -> Response | None:
        """The response to a refused request; None passes it on."""
        headers = Headers(scope=scope)
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        language.use(language.asked_for(query.get("lang"), headers.get("accept-language", "")))
        origin, host = headers.get("origin"), headers.get("host")
        if not HOST.fullmatch(host or ""):
            return refusal(headers, 400, say("Refused: the Host header of this request is no host name."))
        is_question = scope["type"] == "http" and scope["path"] == QUESTION
        changes = scope["type"] == "http" and scope["method"] not in SAFE_METHODS
        if (is_question or changes or scope["type"] == "websocket") and not self._is_ours(origin, host):
            return refusal(headers, 403, *foreign_page(origin or "", host or ""))
        if not self.token:
            if not is_loopback(host):
                port = (scope.get("server") or ("", None))[1]
                return refusal(headers, 403, *unknown_host(host or "", port or 8501))
        elif not self._knows(cookie_of(headers.get("cookie", ""), self.cookie)):
            if scope["type"] == "http" and self._knows(query.pop("token", "")):
                return self._welcome(scope["path"], query)
            return refusal(headers, 401, *no_token())
        return Response(status_code=204) if is_question else None

    def _welcome(self, path: str, query: dict[str, str]) -> Response:
        """Redirect to the same page without the token in its address; the browser keeps the token in a cookie of this
        dashboard.

        The cookie has no path, so the browser limits it to the folder that it sees, and other programs behind the same
        proxy do not get it.
        """
        response = redirect(f"./{quote(path.rpartition('/')[2])}", urlencode(query))
        response.set_cookie(self.cookie, self.token, YEAR_SECONDS, path=None, httponly=True, samesite="lax")
        return response

    def _is_ours(self, origin: str | None, host: str | None) -> bool:
        """Whether the request comes from a page of this dashboard. Browsers always send the origin; programs may
        omit it."""
        return origin is None or origin.partition("://")[2] == host or name_in(origin) in self.trusted_hosts

    def _knows(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())


def protection(frame_ancestors: Sequence[str]) -> dict[str, str]:
    """Headers of every answer. frame_ancestors: sites that may show the page in a frame, as in the config."""
    sources = ["'self'" if site == "self" else site for site in frame_ancestors] or ["'none'"]
    headers = {
        "Content-Security-Policy": f"frame-ancestors {' '.join(sources)}",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return headers if frame_ancestors else headers | {"X-Frame-Options": "DENY"}


def without_prefix(scope: Scope, base_path: str) -> Scope:
    """The request without the base path, which a proxy may have removed already."""
    if not base_path or not scope["path"].startswith(f"{base_path}/"):
        return scope
    raw = scope.get("raw_path") or b""
    return {**scope, "path": scope["path"][len(base_path) :], "raw_path": raw[len(base_path) :]}


def without_origin(scope: Scope) -> Scope:
    """The WebSocket request without its origin: Streamlit's own rule for origins would need internet access."""
    if scope["type"] != "websocket":
        return scope
    return {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"origin"]}


def redirect(target: str, query: str) -> Response:
    """To an address relative to the one that the browser sees."""
    return RedirectResponse(f"{target}?{query}" if query else target, 303)


def refusal(headers: Headers, status: int, *paragraphs: str) -> Response:
    """Why a request is refused and what allows it, as a page for a browser and as text for a program."""
    if "text/html" not in headers.get("accept", ""):
        return PlainTextResponse("\n".join(paragraphs), status)
    marked = (html.escape(text).split("`") for text in paragraphs)
    shown = ("".join(f"<code>{part}</code>" if odd % 2 else part for odd, part in enumerate(parts)) for parts in marked)
    return HTMLResponse(
        PAGE.format(lang=language.current(), paragraphs="".join(f"<p>{text}</p>" for text in shown)), status
    )


def no_token() -> tuple[str, ...]:
    """Text for a browser that nobody has let in yet."""
    return (
        say("Open the link that was printed when the dashboard started: this address needs the token in it."),
        say("Behind a proxy, append `?token=…` of that link to this address."),
        say("A page that is open already continues by itself once you have opened the link in the same browser."),
    )


def unknown_host(host: str, port: int) -> tuple[str, ...]:
    """Text for a host name that this dashboard does not answer to; `port`: where it listens."""
    name = name_in(f"//{host}")
    return (
        say(
            "Refused: unknown host {host}. This dashboard answers to `localhost` and `127.0.0.1` only, so that other "
            "sites cannot reach it under a name of their own.",
            host=repr(host),
        ),
        say("From another machine, open it through `ssh -L {port}:127.0.0.1:{port} HOST`.", port=port),
        *allowing(name),
    )


def foreign_page(origin: str, host: str) -> tuple[str, ...]:
    """Text for a page of another site, or for a proxy that changes the Host header."""
    return (
        say(
            "Refused: another site may not connect. The page was opened at {origin}; the request that arrived here "
            "names the host {host}.",
            origin=repr(origin),
            host=repr(host),
        ),
        say("If there is a proxy in between, it rewrites the Host header."),
        *allowing(name_in(origin)),
    )


def allowing(name: str) -> tuple[str, ...]:
    """The setting that allows a host."""
    if not name:
        return ()
    return (
        say(
            'To allow {name}, set `dashboard.trusted_hosts = ["{name}"]` in the config, or start '
            "`python run.py dashboard --trusted-host {name}`. The dashboard then asks for the token in the link that "
            "it prints.",
            name=name,
        ),
    )


def is_loopback(host: str | None) -> bool:
    """Whether a Host header names this machine."""
    return host is not None and name_in(f"//{host}") in LOOPBACK_NAMES


def name_in(address: str) -> str:
    """The host name of an address, in the form that is compared; empty if there is none."""
    try:
        return (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:
        return ""


def cookie_name(token: str) -> str:
    """One for each token: browsers keep cookies by host, whatever the port, and a host may serve several dashboards."""
    return f"darkroom_{hashlib.sha256(token.encode()).hexdigest()[:12]}"


def cookie_of(header: str, name: str) -> str:
    """A cookie's value in a Cookie header, empty if there is none. Other programs on this host may have set cookies
    that break the rules: they are passed over."""
    return cookie_parser(header).get(name, "")
