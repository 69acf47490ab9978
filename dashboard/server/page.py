"""Streamlit's own page, with our styles, and a script that says why it does not connect.

Streamlit draws nothing before its WebSocket is connected. If a proxy prevents that, the page would stay empty. The
script therefore asks `auth.Gate` whether the WebSocket will be accepted, and shows the reason if not.
"""

from __future__ import annotations

import json
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from dashboard.pages import PATHS
from dashboard.server.scripts import links
from dashboard.text.language import in_all

INDEX = Path(st.__file__).parent / "static" / "index.html"
SCRIPTS = tuple(Path(__file__).with_name(name) for name in ("page.js", "history.js"))
HINT = (
    "This page waits for its WebSocket. If there is a proxy in between, it must pass on WebSockets (the headers "
    "Upgrade and Connection); see docs/dashboard.md."
)


def page_routes() -> list[Route]:
    """A route for every page; Streamlit serves its own files."""
    hints = json.dumps(in_all(HINT), ensure_ascii=False)
    scripts = "".join(f"<script>{script.read_text(encoding='utf-8')}</script>" for script in SCRIPTS)
    added = f"{links()}{scripts.replace('HINTS', hints, 1)}"
    text = INDEX.read_text(encoding="utf-8").replace("</head>", f"{added}</head>", 1)

    async def page(_: Request) -> Response:
        return HTMLResponse(text, headers={"Cache-Control": "no-cache"})

    return [Route(f"/{path}", page) for path in PATHS.values()]
