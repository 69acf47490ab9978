"""The page's own scripts and styles: ES modules as they are, served by URL so that a browser loads each once.

The version in the URL is that of all of them, so that a module and those it imports always belong together.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.server.files import FOREVER

DASHBOARD = Path(__file__).parents[1]
COMPONENTS = DASHBOARD / "components"
NAMES = ("figure.css", "figure.js", "chart.js", "watch.js")
SOURCES = [
    DASHBOARD / "style.css",
    *(COMPONENTS / name for name in NAMES),
    *sorted((COMPONENTS / "screen").glob("*.[jc]s*")),
]
FILES = {file.name: file.read_bytes() for file in SOURCES}
TYPES = {".js": "text/javascript", ".css": "text/css"}
VERSION = hashlib.sha256(b"".join(FILES.values())).hexdigest()[:12]


def script_url(name: str) -> str:
    """The URL of a module or a style sheet, relative to the page."""
    return f"scripts/{VERSION}/{name}"


def links() -> str:
    """For the head of the page: styles before anything is drawn, modules before anything asks for them."""
    return "".join(
        f'<link rel="stylesheet" href="{script_url(name)}">'
        if name.endswith(".css")
        else f'<link rel="modulepreload" href="{script_url(name)}">'
        for name in FILES
    )


def script_routes() -> list[Route]:
    """Of any version: a page that was opened before an update gets what there is now."""

    def script(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FILES:
            raise HTTPException(404)
        return Response(FILES[name], media_type=TYPES[Path(name).suffix], headers=FOREVER)

    return [Route("/scripts/{version}/{name}", script)]
