"""Streamlit's own page, with our styles, what is drawn early, and a script that says why it does not connect.

Streamlit draws nothing before its WebSocket is connected. What `early` writes into the page is seen until then. If a
proxy prevents the connection, a script says so: it asks `auth.Gate` whether the WebSocket will be accepted.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from dashboard.pages import FORMER_PATHS, PATHS
from dashboard.server.auth import redirect
from dashboard.server.early import early
from dashboard.server.screen import language_of
from dashboard.server.scripts import LATER, links
from dashboard.text import language
from dashboard.text.language import in_all

INDEX = Path(st.__file__).parent / "static" / "index.html"
STREAMLITS_OWN = '<script type="module"'
SCRIPTS = tuple(Path(__file__).with_name(name) for name in ("page.js", "history.js"))
WORDS = re.compile(r"/(?!(?:static|media|component|app)/)[A-Za-z0-9-]+(?:/[A-Za-z0-9-]+)*")
"""Paths that may have been meant as a page: files have an ending, and Streamlit's own folders are named."""
HINT = (
    "This page waits for its WebSocket. If there is a proxy in between, it must pass on WebSockets (the headers "
    "Upgrade and Connection); see docs/dashboard.md."
)


class _Words(Route):
    """Of the pages that there are not."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(scope) if WORDS.fullmatch(scope["path"]) else (Match.NONE, {})


def page_routes() -> list[Route]:
    """A route for every page; Streamlit serves its own files."""
    hints = json.dumps(in_all(HINT), ensure_ascii=False)
    scripts = "".join(f"<script>{script.read_text(encoding='utf-8')}</script>" for script in SCRIPTS)
    before, mark, after = INDEX.read_text(encoding="utf-8").partition(STREAMLITS_OWN)
    ours = f"{before}{scripts.replace('HINTS', hints, 1)}"
    streamlits = f"{mark}{after}"
    later = streamlits.replace(" crossorigin", f"{LATER} crossorigin")

    def route(name: str, path: str) -> Route:
        def page(request: Request) -> Response:
            language.use(language_of(request))
            drawn = early(name, request.query_params)
            text = f"{ours}{drawn}{later}" if drawn else f"{ours}{links()}{streamlits}"
            return HTMLResponse(text, headers={"Cache-Control": "no-cache"})

        return Route(f"/{path}", page)

    def moved(former: str, path: str) -> Route:
        return Route(f"/{former}", lambda request: redirect(f"./{path}", request.url.query))

    return [
        *(route(name, path) for name, path in PATHS.items()),
        *(moved(former, path) for former, path in FORMER_PATHS.items()),
    ]


def elsewhere_routes() -> list[Route]:
    """The overview in place of pages that there are not; after all other routes.

    Streamlit would open a dialog over a page without styles, or nothing where the path has several parts.
    """

    def overview(request: Request) -> Response:
        above = request.path_params["path"].count("/")
        return redirect("../" * above or "./", request.url.query)

    return [_Words("/{path:path}", overview)]
