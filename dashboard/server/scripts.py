"""The page's own scripts and styles: ES modules as they are, served by URL so that a browser loads each once.

The version in the URL is that of all of them, so that a module and those it imports always belong together. They are
served from one folder, so a module imports any other as `./name.js`, whichever folder holds it.
"""

from __future__ import annotations

import base64
import hashlib
import json
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
    *(file for room in ("screen", "wall") for file in sorted((COMPONENTS / room).glob("*.[jc]s*"))),
]
FILES = {file.name: file.read_bytes() for file in SOURCES}
WALL = ("dom.js", *(file.name for file in sorted((COMPONENTS / "wall").glob("*.js"))))
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


def import_map() -> str:
    """The wall's modules inside a page that has no server: `import … from "darkroom/wall.js"`."""
    sources = {name: FILES[name] for name in WALL}
    named = {name: source.replace(b'from "./', b'from "darkroom/') for name, source in sources.items()}
    urls = {
        f"darkroom/{name}": f"data:text/javascript;base64,{base64.b64encode(source).decode()}"
        for name, source in named.items()
    }
    return json.dumps({"imports": urls})


def script_routes() -> list[Route]:
    """Of any version: a page that was opened before an update gets what there is now."""

    def script(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FILES:
            raise HTTPException(404)
        return Response(FILES[name], media_type=TYPES[Path(name).suffix], headers=FOREVER)

    return [Route("/scripts/{version}/{name}", script)]
