"""Streamlit's own page, with a script that says why it does not connect.

Streamlit draws nothing before its WebSocket stands. Where a proxy keeps that from happening the page stays empty for
ever, so the script asks the gate what the WebSocket will ask, and shows the refusal in the page's place.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

PATHS = ("", "samples", "snapshots", "compare", "logs", "config", "system")
INDEX = Path(st.__file__).parent / "static" / "index.html"
SCRIPT = Path(__file__).with_name("page.js")


def page_routes() -> list[Route]:
    """Every page's address; those of Streamlit's files are its own."""
    script = f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>"
    text = INDEX.read_text(encoding="utf-8").replace("</head>", f"{script}</head>", 1)

    async def page(_: Request) -> Response:
        return HTMLResponse(text, headers={"Cache-Control": "no-cache"})

    return [Route(f"/{path}", page) for path in PATHS]
